package onceguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

type order struct {
	ID    string
	Cents int
}

// asking is an action whose lookup is fn.
func asking(fn func(ctx context.Context, q onceguard.Query) (onceguard.Verdict[refund], error)) onceguard.Action[order, refund] {
	return onceguard.Action[order, refund]{
		Name: "refund.create", KeepInput: true,
		Key:       func(in order) onceguard.Key { return onceguard.KeyOf("order", in.ID) },
		Run:       func(context.Context, *onceguard.Attempt, order) (refund, error) { return refund{}, errEOF },
		Reconcile: fn,
	}
}

func says(f onceguard.Finding, v refund, reason string) func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
	return func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
		return onceguard.Verdict[refund]{Finding: f, Value: v, Reason: reason}, nil
	}
}

func (w *world) reconciler(o onceguard.ReconcilerOptions, a ...onceguard.Reconcilable) *onceguard.Reconciler {
	w.Helper()
	rc, err := w.guard.Reconciler(o, a...)
	if err != nil {
		w.Fatal(err)
	}
	return rc
}

func (w *world) once(rc *onceguard.Reconciler) onceguard.ReconcileStats {
	w.Helper()
	s, err := rc.Once(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// left makes a request of a uncertain and returns its key's request.
func left(w *world, a onceguard.Action[order, refund], id string) onceguard.Request {
	w.Helper()
	_, err := a.Do(w.ctx, w.guard, order{id, 500})
	w.want(err, onceguard.ErrUncertain)
	r, err := a.Request(order{id, 500})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		finding onceguard.Finding
		state   onceguard.State
		code    onceguard.Code // of the next call; empty: a receipt
		reason  string
	}{
		{onceguard.Happened, onceguard.Succeeded, "", ""},
		{onceguard.WasRefused, onceguard.Failed, onceguard.ErrRefused, "as found"},
		{onceguard.NeverWill, onceguard.Failed, onceguard.ErrRefused, "never-happened: as found"},
		{onceguard.NotSeen, onceguard.Uncertain, onceguard.ErrUncertain, ""},
		{onceguard.Unknown, onceguard.Uncertain, onceguard.ErrUncertain, ""},
		{onceguard.Finding(77), onceguard.Uncertain, onceguard.ErrUncertain, ""},
	} {
		t.Run(tc.finding.String(), func(t *testing.T) {
			virtual(t, func(w *world) {
				a := asking(says(tc.finding, refund{"found", 1}, "as found"))
				r := left(w, a, "1")
				s := w.once(w.reconciler(onceguard.ReconcilerOptions{}, a))
				settled := 0
				if tc.state.Final() {
					settled = 1
				}
				if diff := cmp.Diff(onceguard.ReconcileStats{Uncertain: 1, Asked: 1, Settled: settled}, s); diff != "" {
					t.Error(diff)
				}
				w.wantState(r, tc.state, 1)
				rec, err := a.Do(w.ctx, w.guard, order{"1", 500})
				if tc.code == "" {
					if err != nil || rec.Value.ID != "found" || rec.SettledBy != "reconciler" || !rec.Replayed {
						t.Errorf("%+v, %v", rec, err)
					}
				} else if e := w.want(err, tc.code); tc.reason != "" && e.Reason != tc.reason {
					t.Errorf("%v", e)
				}
				kind := onceguard.EvidenceResolution
				if settled == 0 {
					kind = onceguard.EvidenceLookup
				}
				if len(w.evidence(r, kind)) != 1 {
					t.Error("no evidence")
				}
			})
		})
	}
}

func TestQueryTellsWhatTheStoreKnows(t *testing.T) {
	virtual(t, func(w *world) {
		var got onceguard.Query
		var sent []string
		a := asking(func(_ context.Context, q onceguard.Query) (onceguard.Verdict[refund], error) {
			got = q
			return onceguard.Verdict[refund]{}, nil
		})
		a.Policy = onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)
		a.Policy.MaxAttempts = 2
		a.Run = func(ctx context.Context, at *onceguard.Attempt, _ order) (refund, error) {
			sent = append(sent, at.DownstreamKey())
			if err := at.Checkpoint(ctx, []byte{byte('0' + at.Number())}); err != nil {
				t.Error(err)
			}
			return refund{}, errEOF
		}
		for range 2 {
			_, err := a.Do(w.ctx, w.guard, order{"1", 500})
			w.want(err, onceguard.ErrUncertain)
			time.Sleep(10 * time.Minute)
		}
		// Another process, with nothing but the store.
		g := w.another()
		rc, err := g.Reconciler(onceguard.ReconcilerOptions{}, a)
		if err != nil {
			t.Fatal(err)
		}
		w.once(rc)
		want := onceguard.Query{
			RequestID: w.id(request("1")), Scope: "default", Action: "refund.create", Key: onceguard.KeyOf("order", "1"),
			DownstreamKey: sent[0], Checkpoints: [][]byte{[]byte("1"), []byte("2")}, Input: json.RawMessage(`{"ID":"1","Cents":500}`),
			UncertainFor: 10 * time.Minute, Reason: "EOF",
			Attempts: []onceguard.AttemptInfo{{Number: 1, Age: 20 * time.Minute}, {Number: 2, Age: 10 * time.Minute}},
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b onceguard.Key) bool { return a.Encoded() == b.Encoded() })); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	})
}

func TestLookupThatFails(t *testing.T) {
	for name, fn := range map[string]func(ctx context.Context, q onceguard.Query) (onceguard.Verdict[refund], error){
		"error": func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
			return onceguard.Verdict[refund]{Finding: onceguard.Happened}, errors.New("HTTP 500") // the error counts
		},
		"panic": func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) { panic("nil map") },
		"goexit": func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
			runtime.Goexit()
			panic("no")
		},
		"heeds its context": func(ctx context.Context, _ onceguard.Query) (onceguard.Verdict[refund], error) {
			<-ctx.Done()
			return onceguard.Verdict[refund]{Finding: onceguard.NeverWill}, ctx.Err()
		},
		"does not heed it": func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
			time.Sleep(time.Hour)
			return onceguard.Verdict[refund]{Finding: onceguard.NeverWill}, nil // too late to count
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				a := asking(fn)
				r := left(w, a, "1")
				start := time.Now()
				s := w.once(w.reconciler(onceguard.ReconcilerOptions{}, a))
				if s.Asked != 1 || s.Failed != 1 || s.Settled != 0 || time.Since(start) > 30*time.Second {
					t.Errorf("%+v after %s", s, time.Since(start))
				}
				w.wantState(r, onceguard.Uncertain, 1)
				if ev := w.evidence(r, onceguard.EvidenceLookup); len(ev) != 1 || !strings.Contains(ev[0].Detail, "unknown: ") {
					t.Errorf("%+v", ev)
				}
				if w.events.count(onceguard.EventWarning) != 1 {
					t.Error("no warning")
				}
				time.Sleep(2 * time.Hour)
				w.wantState(r, onceguard.Uncertain, 1)
			})
		})
	}
}

func TestOneHangingLookupDoesNotStopTheOthers(t *testing.T) {
	virtual(t, func(w *world) {
		a := asking(func(_ context.Context, q onceguard.Query) (onceguard.Verdict[refund], error) {
			if strings.Contains(q.Key.String(), "stuck") {
				time.Sleep(24 * time.Hour)
			}
			return onceguard.Verdict[refund]{Finding: onceguard.Happened}, nil
		})
		left(w, a, "stuck")
		rc := w.reconciler(onceguard.ReconcilerOptions{Concurrency: 1}, a)
		ctx, cancel := context.WithCancel(w.ctx)
		done := make(chan error)
		go func() { done <- rc.Run(ctx) }()
		time.Sleep(time.Second)
		r := left(w, a, "later")
		time.Sleep(2 * time.Minute)
		w.wantState(r, onceguard.Succeeded, 1)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(48 * time.Hour)
	})
}

func TestBackoffBetweenLookups(t *testing.T) {
	virtual(t, func(w *world) {
		var at []time.Time
		a := asking(func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
			at = append(at, time.Now())
			return onceguard.Verdict[refund]{Finding: onceguard.NotSeen}, nil
		})
		left(w, a, "1")
		rc := w.reconciler(onceguard.ReconcilerOptions{Every: time.Second, MaxBackoff: time.Minute}, a)
		ctx, cancel := context.WithTimeout(w.ctx, time.Hour)
		defer cancel()
		if err := rc.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if len(at) < 60 || len(at) > 130 {
			t.Errorf("%d lookups in an hour with at most a minute between them", len(at))
		}
		for i := 8; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < 30*time.Second || gap > 62*time.Second {
				t.Errorf("pause %d is %s", i, gap)
			}
		}
		if early := at[1].Sub(at[0]); early > 4*time.Second {
			t.Errorf("the first pause is %s", early)
		}
	})
}

func TestMinAgeAndUnregistered(t *testing.T) {
	virtual(t, func(w *world) {
		a := asking(says(onceguard.Happened, refund{}, ""))
		left(w, a, "1")
		b := a
		b.Name = "mail.send"
		r := left(w, b, "1")
		rc := w.reconciler(onceguard.ReconcilerOptions{MinAge: time.Minute}, a)
		if diff := cmp.Diff(onceguard.ReconcileStats{Uncertain: 2, Unregistered: 1}, w.once(rc)); diff != "" {
			t.Error(diff)
		}
		time.Sleep(2 * time.Minute)
		if diff := cmp.Diff(onceguard.ReconcileStats{Uncertain: 2, Unregistered: 1, Asked: 1, Settled: 1}, w.once(rc)); diff != "" {
			t.Error(diff)
		}
		w.wantState(r, onceguard.Uncertain, 1) // left alone

		_, err := rc.Ask(w.ctx, w.id(r))
		w.want(err, onceguard.ErrInvalid)
		b.Reconcile = nil
		_, err = w.guard.Reconciler(onceguard.ReconcilerOptions{}, b)
		w.want(err, onceguard.ErrInvalid)
	})
}

func TestAskOne(t *testing.T) {
	virtual(t, func(w *world) {
		a := asking(says(onceguard.NotSeen, refund{}, ""))
		r := left(w, a, "1")
		rc := w.reconciler(onceguard.ReconcilerOptions{}, a)
		for range 3 { // without regard to backoff
			if settled, err := rc.Ask(w.ctx, w.id(r)); err != nil || settled {
				t.Errorf("%v, %v", settled, err)
			}
		}
		b := asking(says(onceguard.Happened, refund{}, ""))
		rc = w.reconciler(onceguard.ReconcilerOptions{}, b)
		if settled, err := rc.Ask(w.ctx, w.id(r)); err != nil || !settled {
			t.Errorf("%v, %v", settled, err)
		}
		if settled, err := rc.Ask(w.ctx, w.id(r)); err != nil || settled {
			t.Errorf("of a settled one: %v, %v", settled, err)
		}
	})
}

func TestQuietPeriodCountsOnTheObserversClock(t *testing.T) {
	virtual(t, func(w *world) {
		a := asking(says(onceguard.NotSeen, refund{}, ""))
		a.QuietPeriod = 5 * time.Minute // with lease and MaxRun: 16 minutes
		r := left(w, a, "1")
		time.Sleep(24 * time.Hour) // uncertain for long by the store's clock, which counts for nothing
		rc := w.reconciler(onceguard.ReconcilerOptions{MaxBackoff: time.Second}, a)
		w.once(rc)
		w.wantState(r, onceguard.Uncertain, 1)
		time.Sleep(15*time.Minute + 50*time.Second)
		w.once(rc)
		w.wantState(r, onceguard.Uncertain, 1)
		time.Sleep(15 * time.Second)
		w.once(rc)
		if rec := w.wantState(r, onceguard.Failed, 1); !strings.Contains(rec.Reason, "timing assumption") {
			t.Errorf("reason %q", rec.Reason)
		}
	})
	t.Run("a slow lookup saw the world at its start", func(t *testing.T) {
		virtual(t, func(w *world) {
			slow := time.Duration(0)
			a := asking(func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
				time.Sleep(slow)
				return onceguard.Verdict[refund]{Finding: onceguard.NotSeen}, nil
			})
			a.QuietPeriod = 5 * time.Minute
			r := left(w, a, "1")
			rc := w.reconciler(onceguard.ReconcilerOptions{MaxBackoff: time.Second}, a)
			w.once(rc)
			time.Sleep(15*time.Minute + 50*time.Second)
			slow = 25 * time.Second
			w.once(rc)
			w.wantState(r, onceguard.Uncertain, 1)
		})
	})
	t.Run("another attempt starts anew", func(t *testing.T) {
		virtual(t, func(w *world) {
			var rc *onceguard.Reconciler
			a := asking(says(onceguard.NotSeen, refund{}, ""))
			a.QuietPeriod = 5 * time.Minute
			r := left(w, a, "1")
			rc = w.reconciler(onceguard.ReconcilerOptions{MaxBackoff: time.Second}, a)
			w.once(rc)
			time.Sleep(20 * time.Minute)
			// Between the listing and the reading, attempt 2 comes and goes.
			w.store.set(func(op string, _ int) fate {
				if op == "get" {
					w.store.decide = nil
					w.store.mu.Unlock()
					defer w.store.mu.Lock()
					if _, err := w.guard.Resolve(w.ctx, onceguard.Resolution{ID: w.id(r), Attempt: 1, Verdict: onceguard.ResolveRunAgain, By: "ann", Reason: "again"}); err != nil {
						t.Error(err)
					}
					_, err := a.Do(w.ctx, w.guard, order{"1", 500})
					w.want(err, onceguard.ErrUncertain)
				}
				return reach
			})
			w.once(rc)
			w.wantState(r, onceguard.Uncertain, 2)
		})
	})
	t.Run("not opted in", func(t *testing.T) {
		virtual(t, func(w *world) {
			a := asking(says(onceguard.NotSeen, refund{}, ""))
			r := left(w, a, "1")
			rc := w.reconciler(onceguard.ReconcilerOptions{MaxBackoff: time.Second}, a)
			for range 10 {
				w.once(rc)
				time.Sleep(24 * time.Hour)
			}
			w.wantState(r, onceguard.Uncertain, 1)
		})
	})
}

func TestVerdictAgainstALateOwner(t *testing.T) {
	for name, f := range map[string]onceguard.Finding{"agrees": onceguard.Happened, "contradicts": onceguard.NeverWill, "not seen": onceguard.NotSeen} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				var owner func() answered
				a := asking(func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
					// The owner settles while the lookup is under way.
					if got := owner(); got.err != nil || got.rec.Value.ID != "late" {
						t.Errorf("owner: %+v", got)
					}
					return onceguard.Verdict[refund]{Finding: f, Value: refund{"found", 2}}, nil
				})
				a.KeepInput = false
				r := request("1")
				w.store.set(only("renew", down))
				owner = w.running(w.guard, r, refund{"late", 1}, nil)
				time.Sleep(2 * time.Minute)
				if n, err := w.guard.Sweeper(onceguard.SweeperOptions{}).Sweep(w.ctx); n != 1 || err != nil {
					t.Fatalf("%d, %v", n, err)
				}
				s := w.once(w.reconciler(onceguard.ReconcilerOptions{}, a))
				if s.Settled != 0 || s.Failed != 1 {
					t.Errorf("%+v", s)
				}
				rec := w.wantState(r, onceguard.Succeeded, 1)
				if rec.SettledBy != "owner" {
					t.Errorf("settled by %s", rec.SettledBy)
				}
				contradictions := 1
				if f == onceguard.NotSeen {
					contradictions = 0
				}
				if n := len(w.evidence(r, onceguard.EvidenceConflict)); n != contradictions {
					t.Errorf("%d contradictions kept, want %d", n, contradictions)
				}
			})
		})
	}
	t.Run("the owner comes after the verdict", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := request("1")
			w.store.set(only("renew", down))
			owner := w.running(w.guard, r, refund{"late", 1}, nil)
			time.Sleep(2 * time.Minute)
			if _, err := w.guard.Sweeper(onceguard.SweeperOptions{}).Sweep(w.ctx); err != nil {
				t.Fatal(err)
			}
			a := asking(says(onceguard.NeverWill, refund{}, "lied"))
			w.once(w.reconciler(onceguard.ReconcilerOptions{}, a))
			w.wantState(r, onceguard.Failed, 1)
			got := owner()
			w.want(got.err, onceguard.ErrRefused) // what is stored is what everybody is told
			if ev := w.evidence(r, onceguard.EvidenceConflict); len(ev) != 1 || !strings.Contains(string(ev[0].Body), "late") {
				t.Errorf("%+v", ev)
			}
			if w.events.count(onceguard.EventConflict) != 1 {
				t.Error("no alarm")
			}
		})
	})
}

func TestLookupsAreBoundedAndListingFailuresHarmless(t *testing.T) {
	virtual(t, func(w *world) {
		var running, most atomic.Int64
		a := asking(func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			running.Add(-1)
			return onceguard.Verdict[refund]{Finding: onceguard.Happened, Value: refund{ID: strings.Repeat("x", 100)}}, nil
		})
		a.Limits.MaxResult = 50
		for i := range 250 {
			left(w, a, string(rune('a'+i%26))+strings.Repeat("0", i/26))
		}
		rc := w.reconciler(onceguard.ReconcilerOptions{Concurrency: 8}, a)
		w.store.set(func(op string, n int) fate {
			if op == "list" && n == 2 {
				return down
			}
			return reach
		})
		s, err := rc.Once(w.ctx)
		if err == nil || s.Asked != 200 || s.Settled != 200 {
			t.Errorf("%+v, %v", s, err)
		}
		if s := w.once(rc); s.Asked != 50 || s.Settled != 50 {
			t.Errorf("%+v", s)
		}
		if most.Load() != 8 {
			t.Errorf("%d lookups at once", most.Load())
		}
		_, err = a.Do(w.ctx, w.guard, order{"a", 500})
		if e := w.want(err, onceguard.ErrNoResult); !strings.Contains(e.Reason, "too-large") {
			t.Errorf("%v", e)
		}
		synctest.Wait()
	})
}
