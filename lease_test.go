package onceguard_test

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/process"
)

func TestRenewalKeepsOthersOut(t *testing.T) {
	virtual(t, func(w *world) {
		end := w.running(w.guard, request("1"), refund{"re_1", 500}, nil)
		time.Sleep(9*time.Minute + 5*time.Second) // nine leases
		r := request("1")
		r.Limits.Wait = -1
		_, err := onceguard.Do(w.ctx, w.another(), r, w.never())
		w.want(err, onceguard.ErrInProgress)
		if n := w.store.count("renew"); n < 25 || n > 28 {
			t.Errorf("%d renewals in nine minutes of 60 s leases, want one every 20 s", n)
		}
		if got := end(); got.err != nil {
			t.Error(got.err)
		}
		renewals := w.store.count("renew")
		time.Sleep(time.Hour)
		if w.store.count("renew") != renewals {
			t.Error("renewed after the end")
		}
	})
}

func TestRenewalFaultsAreRiddenOut(t *testing.T) {
	for name, what := range map[string]fate{"down": down, "lost before": lostBefore, "lost after": lostAfter} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				w.store.set(func(op string, n int) fate {
					if op == "renew" && n%2 == 1 {
						return what
					}
					return reach
				})
				w.mustDo(request("1"), func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
					time.Sleep(8 * time.Minute)
					return refund{}, ctx.Err()
				})
				if n := w.events.count(onceguard.EventLeaseLost); n != 0 {
					t.Errorf("lease lost %d times", n)
				}
			})
		})
	}
}

func TestLostLease(t *testing.T) {
	// Whatever the store does, the effect must be told before others may act.
	for name, what := range map[string]fate{"store down": down, "store hangs": hang, "answers lost": lostBefore} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r, start := request("1"), time.Now()
				w.store.set(only("renew", what))
				rec, err := w.do(r, func(ctx context.Context, a *onceguard.Attempt) (refund, error) {
					<-ctx.Done()
					if took := time.Since(start); took < 54*time.Second || took > 56*time.Second {
						t.Errorf("told after %s, want at the fence, 5 s before the lease's 60", took)
					}
					if context.Cause(ctx) != onceguard.ErrLeaseLost {
						t.Errorf("cause %v", context.Cause(ctx))
					}
					if err := a.Ready(); !errors.Is(err, onceguard.ErrLeaseLost) {
						t.Errorf("Ready says %v", err)
					}
					time.Sleep(10 * time.Second)
					_, err := onceguard.Do(w.ctx, w.another(), r, w.never()) // parks it
					w.want(err, onceguard.ErrUncertain)
					return refund{"late", 1}, nil // T7: however late
				})
				if err != nil || rec.Value.ID != "late" || rec.Replayed {
					t.Errorf("%+v, %v", rec, err)
				}
				w.wantState(r, onceguard.Succeeded, 1)
				if w.events.count(onceguard.EventLeaseLost) != 1 {
					t.Error("not observed once")
				}
			})
		})
	}
}

func TestLeaseTakenAway(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		_, err := w.do(r, func(ctx context.Context, a *onceguard.Attempt) (refund, error) {
			// Somebody is sure that this process is dead.
			_, err := w.store.Resolve(w.ctx, onceguard.Resolution{ID: a.RequestID(), Attempt: 1, Verdict: onceguard.ResolvePark, Who: onceguard.BySweeper, Reason: "looks dead"})
			if err != nil {
				t.Error(err)
			}
			<-ctx.Done()
			if context.Cause(ctx) != onceguard.ErrLeaseLost {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return refund{}, onceguard.NotExecuted(errors.New("stopped in time")) // T10 from uncertain
		})
		w.want(err, onceguard.ErrNotExecuted)
		w.wantState(r, onceguard.Released, 1)
	})
}

func TestSelfFence(t *testing.T) {
	jump := func(w *world, d time.Duration) {
		w.store.set(func(op string, n int) fate {
			if op == "claim" && n == 1 {
				w.clock.offset.Add(int64(d)) // suspended while the claim was on its way
			}
			return reach
		})
	}
	for name, tc := range map[string]struct {
		policy onceguard.Policy
		pause  time.Duration
		runs   bool
	}{
		"well within the lease":          {onceguard.AtMostOnce, 54 * time.Second, true},
		"within the margin":              {onceguard.AtMostOnce, 56 * time.Second, false},
		"past the lease":                 {onceguard.AtMostOnce, time.Hour, false},
		"past the horizon, in the lease": {onceguard.SafeRetry(30*time.Second, onceguard.RefusalsRemembered), 28 * time.Second, false},
		"within the horizon":             {onceguard.SafeRetry(30*time.Second, onceguard.RefusalsRemembered), 20 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r := under(tc.policy, "1")
				jump(w, tc.pause)
				if tc.runs {
					w.mustDo(r, w.ok())
					return
				}
				_, err := w.do(r, w.never())
				if e := w.want(err, onceguard.ErrNotRun); e.MayHaveRun || !errors.Is(err, onceguard.ErrLeaseLost) {
					t.Errorf("%v", e)
				}
				w.wantState(r, onceguard.Released, 1)
				w.mustDo(r, w.ok())
				w.wantRuns(1)
			})
		})
	}
	t.Run("an earlier attempt is remembered", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := under(onceguard.Rerun, "1")
			_, err := w.do(r, w.act(refund{}, errors.New("504")))
			w.want(err, onceguard.ErrUncertain)
			w.store.set(func(op string, _ int) fate {
				if op == "claim" {
					w.clock.offset.Add(int64(time.Hour))
				}
				return reach
			})
			_, err = w.do(r, w.never())
			if e := w.want(err, onceguard.ErrNotRun); !e.MayHaveRun || !strings.Contains(e.Error(), "an earlier one may have") {
				t.Errorf("%v", e)
			}
		})
	})
}

func TestNoClockNoStart(t *testing.T) {
	virtual(t, func(w *world) {
		w.clock.fails.Store(true)
		_, err := w.do(request("1"), w.never())
		w.want(err, onceguard.ErrNotRun)
		if w.store.count("claim") != 0 {
			t.Error("claimed without a clock")
		}
		if _, err := onceguard.New(w.ctx, w.store, w.options()); err == nil || !strings.Contains(err.Error(), "no clock") {
			t.Errorf("New: %v", err)
		}
		w.clock.fails.Store(false)
		// The clock that fails after the claim says "do not start" as well.
		w.store.set(func(op string, _ int) fate { w.clock.fails.Store(op == "claim"); return reach })
		_, err = w.do(request("2"), w.never())
		w.want(err, onceguard.ErrNotRun)
		w.wantState(request("2"), onceguard.Released, 1)
		w.clock.fails.Store(false)
	})
}

func TestClockFailsWhileTheEffectRuns(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
			w.clock.fails.Store(true)
			<-ctx.Done()
			if context.Cause(ctx) != onceguard.ErrLeaseLost {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return refund{}, nil
		})
		w.clock.fails.Store(false)
	})
}

func TestDeadOwnerOnThisHostIsParkedAtOnce(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Skipf("no process to see die: %v", err)
	}
	id, err := process.Of(cmd.Process.Pid)
	if werr := cmd.Wait(); err != nil || werr != nil {
		t.Skipf("the system does not name processes: %v, %v", err, werr)
	}
	text, err := id.MarshalText()
	if err != nil || id.State() != process.Dead {
		t.Skipf("the system does not tell that a process is dead: %v", err)
	}
	dead := func(o *onceguard.Options) { o.Process = string(text) }

	claimed := func(w *world, r onceguard.Request) {
		// A process that died while its effect ran: its answers never come.
		g := w.another(dead, func(o *onceguard.Options) { o.SettleWait = time.Second })
		w.store.set(only("settle", down))
		_, err := onceguard.Do(w.ctx, g, r, w.ok())
		w.want(err, onceguard.ErrUnsettled)
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		if err := g.Close(ctx); err == nil {
			w.Error("Close did not say that an outcome is not stored")
		}
		w.store.set(nil)
		w.wantState(r, onceguard.Claimed, 1)
	}
	t.Run("at-most-once", func(t *testing.T) {
		virtual(t, func(w *world) {
			claimed(w, request("1"))
			start := time.Now()
			_, err := w.do(request("1"), w.never())
			e := w.want(err, onceguard.ErrUncertain)
			if took := time.Since(start); took != 0 || !strings.Contains(e.Reason, "dead on this host") {
				t.Errorf("parked after %s: %v", took, e)
			}
		})
	})
	t.Run("rerun waits for the lease", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := under(onceguard.Rerun, "1")
			r.Limits.Wait = 2 * time.Minute
			claimed(w, r)
			start := time.Now()
			rec := w.mustDo(r, w.ok())
			if took := time.Since(start); took < 58*time.Second || rec.Attempt != 2 {
				t.Errorf("attempt %d after %s", rec.Attempt, took)
			}
		})
	})
}

func TestCheckpoint(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), func(ctx context.Context, a *onceguard.Attempt) (refund, error) {
			if err := a.Checkpoint(ctx, []byte("pi_123")); err != nil {
				t.Error(err)
			}
			if err := a.Checkpoint(ctx, make([]byte, onceguard.MaxEvidenceBody+1)); err == nil {
				t.Error("an oversized checkpoint was taken")
			}
			return refund{}, nil
		})
		if ev := w.evidence(request("1"), onceguard.EvidenceCheckpoint); len(ev) != 1 || string(ev[0].Body) != "pi_123" {
			t.Errorf("%v", ev)
		}
		_, err := w.do(request("2"), func(ctx context.Context, a *onceguard.Attempt) (refund, error) {
			_, err := w.store.Resolve(w.ctx, onceguard.Resolution{ID: a.RequestID(), Attempt: 1, Verdict: onceguard.ResolvePark, Who: onceguard.BySweeper})
			if err != nil {
				t.Error(err)
			}
			_, err = w.guard.Resolve(w.ctx, onceguard.Resolution{ID: a.RequestID(), Attempt: 1, Verdict: onceguard.ResolveRunAgain, By: "ann", Reason: "checked"})
			if err != nil {
				t.Error(err)
			}
			if err := a.Checkpoint(ctx, []byte("x")); err == nil || !strings.Contains(err.Error(), "no longer the owner") {
				t.Errorf("checkpoint of a fenced owner: %v", err)
			}
			return refund{"done after all", 1}, nil
		})
		// The effect happened although a person released it: this call must not
		// run it once more, and what it learned is kept.
		e := w.want(err, onceguard.ErrUncertain)
		if !strings.Contains(e.Error(), "released for another run") {
			t.Error(e)
		}
		w.wantState(request("2"), onceguard.Released, 1)
		if len(w.evidence(request("2"), onceguard.EvidenceLate)) != 1 {
			t.Error("the late result is not kept")
		}
		synctest.Wait()
	})
}

func TestDownstreamKey(t *testing.T) {
	virtual(t, func(w *world) {
		var keys []string
		w.mustDo(request("1"), func(_ context.Context, a *onceguard.Attempt) (refund, error) {
			long := a.DownstreamKey()
			if len(long) != 52 || strings.ToLower(long) != long || strings.Contains(long, "order") {
				t.Errorf("key %q", long)
			}
			for _, n := range []int{onceguard.MinDownstreamKey, 36, 255} {
				k, err := a.DownstreamKeyLen(n)
				if err != nil || k != long[:min(n, 52)] {
					t.Errorf("%d: %q, %v", n, k, err)
				}
			}
			if _, err := a.DownstreamKeyLen(onceguard.MinDownstreamKey - 1); err == nil {
				t.Error("a key that could collide")
			}
			keys = append(keys, long)
			return refund{}, nil
		})
		w.mustDo(request("2"), func(_ context.Context, a *onceguard.Attempt) (refund, error) {
			keys = append(keys, a.DownstreamKey())
			return refund{}, nil
		})
		if keys[0] == keys[1] {
			t.Error("two requests share a downstream key")
		}
	})
}
