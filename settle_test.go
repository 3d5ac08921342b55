package onceguard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
)

// first meets the first n calls of one kind with a fate.
func first(op string, n int, what fate) func(string, int) fate {
	return func(o string, i int) fate {
		if o == op && i <= n {
			return what
		}
		return reach
	}
}

func TestClaimAnswerLost(t *testing.T) {
	for name, what := range map[string]fate{"not written": lostBefore, "written": lostAfter, "clean": down} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				w.store.set(first("claim", 5, what))
				rec := w.mustDo(request("1"), w.ok())
				// One token over all resends: no wait for one's own claim, and
				// no second attempt.
				if rec.Attempt != 1 {
					t.Errorf("attempt %d", rec.Attempt)
				}
				w.wantRuns(1)
				if n := w.store.count("claim"); n != 6 {
					t.Errorf("%d claims", n)
				}
			})
		})
	}
}

func TestClaimAnswerLostAndParkedMeanwhile(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		w.store.set(func(op string, n int) fate {
			if op != "claim" {
				return reach
			}
			if n == 2 { // the first reached the store, and its lease is over
				time.Sleep(2 * time.Minute)
				if parked, err := w.store.Sweep(w.ctx, 10); err != nil || len(parked) != 1 {
					t.Errorf("%v, %v", parked, err)
				}
			}
			return map[int]fate{1: lostAfter}[n]
		})
		// Its own claim, under which nothing started: released, claimed anew.
		rec := w.mustDo(r, w.ok())
		if rec.Attempt != 2 {
			t.Errorf("attempt %d", rec.Attempt)
		}
		w.wantRuns(1)
		if len(w.evidence(r, onceguard.EvidenceReleased)) != 1 {
			t.Error("the release left no evidence")
		}
	}, func(o *onceguard.Options) { o.StoreTimeout = time.Hour })
}

func TestStoreDownBeforeTheStart(t *testing.T) {
	for name, what := range map[string]fate{"down": down, "hangs": hang, "answers lost, not written": lostBefore, "answers lost, written": lostAfter} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r, start := request("1"), time.Now()
				w.store.set(only("claim", what))
				_, err := w.do(r, w.never())
				e := w.want(err, onceguard.ErrNotRun)
				if took := time.Since(start); took < 9*time.Second || took > 12*time.Second || e.MayHaveRun {
					t.Errorf("after %s: %v", took, e)
				}
				// What may have been claimed is given back as soon as the store
				// answers again.
				w.store.set(nil)
				time.Sleep(5 * time.Second)
				synctest.Wait()
				if rec := w.record(r); rec.State != onceguard.Absent && rec.State != onceguard.Released {
					t.Errorf("left behind: %s", rec.State)
				}
				w.mustDo(r, w.ok())
				w.wantRuns(1)
			})
		})
	}
}

func TestPermanentFailureIsNotTriedAgain(t *testing.T) {
	virtual(t, func(w *world) {
		w.store.set(only("claim", broken))
		start := time.Now()
		_, err := w.do(request("1"), w.never())
		w.want(err, onceguard.ErrNotRun)
		if took := time.Since(start); took != 0 || w.store.count("claim") != 1 {
			t.Errorf("%d claims in %s", w.store.count("claim"), took)
		}
	})
}

func TestCallerEndsWhileTheStoreIsSilent(t *testing.T) {
	virtual(t, func(w *world) {
		w.store.set(only("claim", lostAfter))
		ctx, cancel := context.WithTimeout(w.ctx, 3*time.Second)
		defer cancel()
		start := time.Now()
		_, err := onceguard.Do(ctx, w.guard, request("1"), w.never())
		if e := w.want(err, onceguard.ErrNotRun); time.Since(start) > 4*time.Second || e.MayHaveRun {
			t.Errorf("after %s: %v", time.Since(start), e)
		}
		w.store.set(nil)
		time.Sleep(5 * time.Second)
		w.wantState(request("1"), onceguard.Released, 1)
	})
}

func TestSettleAnswerLost(t *testing.T) {
	for name, what := range map[string]fate{"not written": lostBefore, "written": lostAfter, "clean": down} {
		for outcome, verdict := range map[string]error{"succeeded": nil, "refused": onceguard.Refused(errors.New("no")), "unknown": errors.New("504"), "released": onceguard.NotExecuted(errors.New("dial"))} {
			t.Run(outcome+" "+name, func(t *testing.T) {
				virtual(t, func(w *world) {
					r := request("1")
					w.store.set(first("settle", 4, what))
					rec, err := w.do(r, w.act(refund{"re_1", 500}, verdict))
					state := w.record(r).State
					switch outcome {
					case "succeeded":
						if err != nil || rec.Replayed || rec.Value.ID != "re_1" || state != onceguard.Succeeded {
							t.Errorf("%+v, %v, %s", rec, err, state)
						}
					case "refused":
						w.want(err, onceguard.ErrRefused)
						if rec.Replayed || state != onceguard.Failed {
							t.Errorf("%+v, %s", rec, state)
						}
					case "unknown":
						w.want(err, onceguard.ErrUncertain)
						if state != onceguard.Uncertain {
							t.Errorf("%s", state)
						}
					case "released":
						w.want(err, onceguard.ErrNotExecuted)
						if state != onceguard.Released {
							t.Errorf("%s", state)
						}
					}
					w.wantRuns(1)
					if len(w.evidence(r, onceguard.EvidenceConflict)) != 0 || w.events.count(onceguard.EventConflict) != 0 {
						t.Error("a settlement contradicts itself")
					}
				})
			})
		}
	}
}

func TestStoreDownAfterTheEffect(t *testing.T) {
	for name, what := range map[string]fate{"down": down, "hangs": hang, "answers lost": lostBefore, "permanent": broken} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r, start := request("1"), time.Now()
				w.store.set(only("settle", what))
				rec, err := w.do(r, w.ok())
				e := w.want(err, onceguard.ErrUnsettled)
				want := refund{"re_1", 500}
				if rec.Value != want || e.Value != want || !e.MayHaveRun {
					t.Errorf("the owner lost its value: %+v, %+v", rec, e)
				}
				if took := time.Since(start); took < 10*time.Second || took > 21*time.Second {
					t.Errorf("returned after %s", took)
				}
				// The claim is kept: nobody runs it.
				w.wantState(r, onceguard.Claimed, 1)
				dup := request("1")
				dup.Limits.Wait = -1
				_, err = w.do(dup, w.never())
				w.want(err, onceguard.ErrInProgress)
				w.store.set(nil)
				time.Sleep(15 * time.Second)
				got := w.mustDo(r, w.never())
				if got.Value != want || !got.Replayed || got.SettledBy != "owner" {
					t.Errorf("settled later as %+v", got)
				}
			})
		})
	}
}

func TestLateSettleFromUncertain(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		w.store.set(only("settle", down))
		_, err := w.do(r, w.ok())
		w.want(err, onceguard.ErrUnsettled)
		time.Sleep(2 * time.Minute)
		_, err = w.do(r, w.never())
		w.want(err, onceguard.ErrUncertain) // its lease is over
		w.wantState(r, onceguard.Uncertain, 1)
		w.store.set(nil)
		time.Sleep(time.Minute)
		if rec := w.mustDo(r, w.never()); rec.Value.ID != "re_1" {
			t.Errorf("%+v", rec)
		}
	})
}

func TestUnknownCannotBeStored(t *testing.T) {
	virtual(t, func(w *world) {
		own := errors.New("504")
		w.store.set(only("settle", down))
		_, err := w.do(request("1"), w.act(refund{}, own))
		if e := w.want(err, onceguard.ErrUnsettled); !errors.Is(err, own) || !e.MayHaveRun {
			t.Errorf("%v", e)
		}
		w.store.set(nil)
	})
}

func TestClose(t *testing.T) {
	t.Run("waits for what is under way", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.store.set(only("settle", down))
			_, err := w.do(request("1"), w.ok())
			w.want(err, onceguard.ErrUnsettled)
			go func() {
				time.Sleep(20 * time.Second)
				w.store.set(nil)
			}()
			start := time.Now()
			if err := w.guard.Close(w.ctx); err != nil || time.Since(start) < 20*time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
			}
			w.wantState(request("1"), onceguard.Succeeded, 1)
		})
	})
	t.Run("gives up when told", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.store.set(only("settle", hang))
			_, err := w.do(request("1"), w.ok())
			w.want(err, onceguard.ErrUnsettled)
			ctx, cancel := context.WithTimeout(w.ctx, time.Second)
			defer cancel()
			if err := w.guard.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			w.wantState(request("1"), onceguard.Claimed, 1)
			w.store.set(nil)
		})
	})
	t.Run("while calls still start background work", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.store.set(first("settle", 200, lostBefore))
			done := make(chan struct{})
			go func() {
				defer close(done)
				for i := range 20 {
					_, _ = onceguard.Do(w.ctx, w.guard, request(string(rune('a'+i))), w.ok())
				}
			}()
			for range 50 {
				time.Sleep(5 * time.Millisecond)
				_ = w.guard.Close(w.ctx)
			}
			<-done
		})
	})
}

func TestForgottenClaim(t *testing.T) {
	virtual(t, func(w *world) {
		// The store lost an acknowledged claim: another, empty one answers.
		empty := newWorld(t)
		rec, err := w.do(request("1"), func(context.Context, *onceguard.Attempt) (refund, error) {
			w.store.mu.Lock()
			w.store.Store = empty.store.Store
			w.store.mu.Unlock()
			return refund{"re_1", 500}, nil
		})
		if e := w.want(err, onceguard.ErrUnsettled); rec.Value.ID != "re_1" || !e.MayHaveRun || !strings.Contains(e.Error(), "do not retry") {
			t.Errorf("%+v, %v", rec, e)
		}
		if w.events.count(onceguard.EventForgotten) != 1 {
			t.Error("no alarm")
		}
	})
}
