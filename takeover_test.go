package onceguard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

var (
	remembers = onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsRemembered)
	forgets   = onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsForgotten)
	errEOF    = errors.New("EOF")
)

// keyed is act, noting the downstream key and the attempt of each run.
func (w *world) keyed(keys *[]string, v refund, err error) effect {
	return func(_ context.Context, a *onceguard.Attempt) (refund, error) {
		w.runs.Add(1)
		*keys = append(*keys, a.DownstreamKey())
		return v, err
	}
}

func TestSafeRetryRunsAgainUnderTheSameKey(t *testing.T) {
	virtual(t, func(w *world) {
		var keys []string
		r := under(remembers, "1")
		_, err := w.do(r, w.keyed(&keys, refund{}, errEOF))
		e := w.want(err, onceguard.ErrUncertain)
		if !errors.Is(err, errEOF) || e.State != onceguard.Claimed || !strings.Contains(e.Error(), "retry with the same key start it again") {
			t.Errorf("%v", e)
		}
		_, err = w.do(r, w.keyed(&keys, refund{}, onceguard.NotExecuted(errors.New("dial"))))
		if e := w.want(err, onceguard.ErrNotExecuted); !e.MayHaveRun || !strings.Contains(e.Error(), "an earlier one may have") {
			t.Errorf("attempt 1 is unknown, and the error says %v", e)
		}
		rec := w.mustDo(r, w.keyed(&keys, refund{"re_1", 5}, nil))
		if rec.Attempt != 3 {
			t.Errorf("attempt %d", rec.Attempt)
		}
		if diff := cmp.Diff([]string{keys[0], keys[0], keys[0]}, keys); diff != "" {
			t.Errorf("the downstream key changed\n%s", diff)
		}
	})
}

func TestSupersededOwnerGetsTheWinnersReceipt(t *testing.T) {
	virtual(t, func(w *world) {
		r := under(remembers, "1")
		r.Limits.Wait = 5 * time.Minute
		w.store.set(only("renew", down)) // partitioned from the store
		slow := w.running(w.guard, r, refund{"first", 1}, nil)
		time.Sleep(2 * time.Minute)
		other := w.another()
		won, err := onceguard.Do(w.ctx, other, r, w.act(refund{"second", 2}, nil))
		if err != nil || won.Attempt != 2 {
			t.Fatalf("%+v, %v", won, err)
		}
		got := slow()
		if got.err != nil || got.rec.Value.ID != "second" || !got.rec.Replayed || got.rec.Attempt != 2 {
			t.Errorf("%+v, want the winner's receipt", got)
		}
		late := append(w.evidence(r, onceguard.EvidenceLate), w.evidence(r, onceguard.EvidenceConflict)...)
		if len(late) != 1 || late[0].Attempt != 1 || !strings.Contains(string(late[0].Body), "first") {
			t.Errorf("the superseded result is not kept: %+v", late)
		}
		w.wantRuns(2)
	})
}

func TestSupersededOwnerWaitsForTheWinner(t *testing.T) {
	virtual(t, func(w *world) {
		r := under(remembers, "1")
		r.Limits.Wait = 5 * time.Minute
		w.store.set(only("renew", down))
		slow := w.running(w.guard, r, refund{"first", 1}, nil)
		time.Sleep(2 * time.Minute)
		w.store.set(nil)
		winner := w.running(w.another(), r, refund{"second", 2}, nil)
		got := make(chan answered)
		go func() { got <- slow() }()
		time.Sleep(30 * time.Second)
		if w.events.count(onceguard.EventSuperseded) != 1 {
			t.Error("not observed")
		}
		winner()
		if a := <-got; a.err != nil || a.rec.Value.ID != "second" || !a.rec.Replayed {
			t.Errorf("%+v", a)
		}
		w.wantRuns(2)
		if len(w.evidence(r, onceguard.EvidenceLate)) != 1 {
			t.Error("the late result is not kept")
		}
	})
}

func TestRefusalAfterAnUnknownAttempt(t *testing.T) {
	for name, tc := range map[string]struct {
		policy onceguard.Policy
		code   onceguard.Code
		state  onceguard.State
	}{
		"remembered": {remembers, onceguard.ErrRefused, onceguard.Failed},
		"forgotten":  {forgets, onceguard.ErrUncertain, onceguard.Uncertain},
		"rerun":      {onceguard.Rerun, onceguard.ErrUncertain, onceguard.Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				r := under(tc.policy, "1")
				_, err := w.do(r, w.act(refund{}, errEOF))
				w.want(err, onceguard.ErrUncertain)
				declined := errors.New("declined")
				_, err = w.do(r, w.act(refund{}, onceguard.Refused(declined)))
				w.want(err, tc.code)
				w.wantState(r, tc.state, 2)
				if tc.state == onceguard.Uncertain && (!errors.Is(err, declined) || len(w.evidence(r, onceguard.EvidenceRefusal)) != 1) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

func TestAttemptLimitAndHorizonPark(t *testing.T) {
	t.Run("attempts", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := under(onceguard.Rerun, "1")
			r.Policy.MaxAttempts = 3
			for range 5 {
				_, err := w.do(r, w.act(refund{}, errEOF))
				w.want(err, onceguard.ErrUncertain)
			}
			w.wantRuns(3)
			w.wantState(r, onceguard.Uncertain, 3)
		})
	})
	t.Run("default", func(t *testing.T) {
		virtual(t, func(w *world) {
			for range 10 {
				_, _ = w.do(under(onceguard.Rerun, "1"), w.act(refund{}, errEOF))
			}
			w.wantRuns(onceguard.DefaultMaxAttempts)
		})
	})
	t.Run("horizon", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := under(remembers, "1")
			_, err := w.do(r, w.act(refund{}, errEOF))
			w.want(err, onceguard.ErrUncertain)
			time.Sleep(25 * time.Hour)
			_, err = w.do(r, w.never())
			if e := w.want(err, onceguard.ErrUncertain); !strings.Contains(e.Reason, "horizon") {
				t.Errorf("%v", e)
			}
			w.wantState(r, onceguard.Uncertain, 1)
		})
	})
}

func TestPolicyChangedByADeploy(t *testing.T) {
	t.Run("row at-most-once, declared rerun", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.store.set(only("settle", down))
			_, err := w.do(request("1"), w.ok())
			w.want(err, onceguard.ErrUnsettled)
			time.Sleep(2 * time.Minute)
			_, err = w.do(under(onceguard.Rerun, "1"), w.never())
			w.want(err, onceguard.ErrUncertain)
			if len(w.evidence(request("1"), onceguard.EvidencePolicy)) != 1 {
				t.Error("no evidence of the difference")
			}
			w.store.set(nil)
		})
	})
	t.Run("row rerun, declared at-most-once", func(t *testing.T) {
		virtual(t, func(w *world) {
			_, err := w.do(under(onceguard.Rerun, "1"), w.act(refund{}, errEOF))
			w.want(err, onceguard.ErrUncertain)
			_, err = w.do(request("1"), w.never())
			w.want(err, onceguard.ErrUncertain)
			w.wantState(request("1"), onceguard.Uncertain, 1)
		})
	})
}

func TestDownstreamKeyChangesAfterNeverWillAlone(t *testing.T) {
	virtual(t, func(w *world) {
		var keys []string
		a := onceguard.Action[string, refund]{
			Name: "refund.create", Key: func(order string) onceguard.Key { return onceguard.KeyOf("order", order) },
			RunAfterNeverWill: true,
			Reconcile: func(context.Context, onceguard.Query) (onceguard.Verdict[refund], error) {
				return onceguard.Verdict[refund]{Finding: onceguard.NeverWill, Reason: "cancelled by key"}, nil
			},
		}
		run := func(v refund, err error) (onceguard.Receipt[refund], error) {
			a.Run = func(ctx context.Context, at *onceguard.Attempt, _ string) (refund, error) {
				return w.keyed(&keys, v, err)(ctx, at)
			}
			return a.Do(w.ctx, w.guard, "1")
		}
		_, err := run(refund{}, onceguard.NotExecuted(errEOF)) // a release keeps the key
		w.want(err, onceguard.ErrNotExecuted)
		_, err = run(refund{}, errEOF)
		w.want(err, onceguard.ErrUncertain)
		rc, err := w.guard.Reconciler(onceguard.ReconcilerOptions{}, a)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := rc.Once(w.ctx); err != nil || s.Settled != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
		rec, err := run(refund{"re_1", 1}, nil)
		if err != nil || rec.Attempt != 3 || rec.Waived {
			t.Fatalf("%+v, %v", rec, err)
		}
		if keys[0] != keys[1] || keys[1] == keys[2] {
			t.Errorf("keys %q: want the first two equal and the third new", keys)
		}
	})
}
