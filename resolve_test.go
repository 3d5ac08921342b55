package onceguard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

func (w *world) resolve(r onceguard.Request, attempt int64, v onceguard.ResolveVerdict, res onceguard.Result) (onceguard.Record, error) {
	return w.guard.Resolve(w.ctx, onceguard.Resolution{ID: w.id(r), Attempt: attempt, Verdict: v, By: "ann", Reason: "saw the bank statement", Result: res})
}

func TestResolve(t *testing.T) {
	value := onceguard.NewResult("json onceguard_test.refund", []byte(`{"id":"re_9","cents":9}`))
	for name, tc := range map[string]struct {
		verdict onceguard.ResolveVerdict
		result  onceguard.Result
		check   func(w *world, rec onceguard.Receipt[refund], err error)
	}{
		"happened": {onceguard.ResolveHappened, value, func(w *world, rec onceguard.Receipt[refund], err error) {
			if err != nil || rec.Value != (refund{"re_9", 9}) || rec.SettledBy != "operator:ann" || rec.Reason != "saw the bank statement" || !rec.Replayed {
				w.Errorf("%+v, %v", rec, err)
			}
		}},
		"happened, value not known": {onceguard.ResolveHappened, onceguard.Result{}, func(w *world, rec onceguard.Receipt[refund], err error) {
			if e := w.want(err, onceguard.ErrNoResult); e.SettledBy != "operator:ann" || !e.MayHaveRun {
				w.Errorf("%+v", e)
			}
		}},
		"refused": {onceguard.ResolveRefused, onceguard.Result{}, func(w *world, rec onceguard.Receipt[refund], err error) {
			if e := w.want(err, onceguard.ErrRefused); e.SettledBy != "operator:ann" || e.Reason != "saw the bank statement" {
				w.Errorf("%+v", e)
			}
		}},
		"never will": {onceguard.ResolveNeverWill, onceguard.Result{}, func(w *world, rec onceguard.Receipt[refund], err error) {
			w.want(err, onceguard.ErrRefused)
		}},
		"run again": {onceguard.ResolveRunAgain, onceguard.Result{}, func(w *world, rec onceguard.Receipt[refund], err error) {
			if err != nil || rec.Attempt != 2 || !rec.Waived || rec.Value.ID != "re_1" {
				w.Errorf("%+v, %v", rec, err)
			}
		}},
	} {
		for _, sealed := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				adapt := func(*onceguard.Options) {}
				if sealed {
					adapt = kek(7)
				}
				virtual(t, func(w *world) {
					w.uncertain(request("1"))
					if _, err := w.resolve(request("1"), 1, tc.verdict, tc.result); err != nil {
						t.Fatal(err)
					}
					rec, err := w.do(request("1"), w.ok())
					tc.check(w, rec, err)
				}, adapt)
			})
		}
	}
}

func TestResolveIsRefused(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		w.uncertain(r)
		before := w.record(r)
		for name, n := range map[string]onceguard.Resolution{
			"no name":   {Verdict: onceguard.ResolveHappened, Attempt: 1, Reason: "x"},
			"no reason": {Verdict: onceguard.ResolveHappened, Attempt: 1, By: "ann"},
			"nothing":   {Attempt: 1, By: "ann", Reason: "x"},
		} {
			n.ID = w.id(r)
			_, err := w.guard.Resolve(w.ctx, n)
			if e := w.want(err, onceguard.ErrInvalid); !e.MayHaveRun {
				t.Errorf("%s: %v", name, e)
			}
		}
		_, err := w.resolve(r, 2, onceguard.ResolveHappened, onceguard.Result{})
		if e := w.want(err, onceguard.ErrStale); !e.MayHaveRun || !strings.Contains(e.Reason, "attempt 1") {
			t.Errorf("%v", e)
		}
		_, err = w.resolve(request("none"), 1, onceguard.ResolveHappened, onceguard.Result{})
		w.want(err, onceguard.ErrInvalid)
		if after := w.record(r); after.State != before.State || after.SettledBy != "" {
			t.Errorf("%+v", after)
		}
		w.mustDo(request("done"), w.ok())
		_, err = w.resolve(request("done"), 1, onceguard.ResolveNeverWill, onceguard.Result{})
		if e := w.want(err, onceguard.ErrStale); e.State != onceguard.Succeeded || !e.MayHaveRun {
			t.Errorf("%v", e)
		}
		if w.events.count(onceguard.EventConflict) != 1 || len(w.evidence(request("done"), onceguard.EvidenceConflict)) != 1 {
			t.Error("a person who contradicts a receipt leaves no trace")
		}
	})
}

func TestResolveAnswerLost(t *testing.T) {
	virtual(t, func(w *world) {
		w.uncertain(request("1"))
		w.store.set(only("resolve", lostAfter))
		_, err := w.resolve(request("1"), 1, onceguard.ResolveRefused, onceguard.Result{})
		if e := w.want(err, onceguard.ErrUncertain); !strings.Contains(e.Reason, "may be sent again") {
			t.Errorf("%v", e)
		}
		w.store.set(nil)
		if _, err := w.resolve(request("1"), 1, onceguard.ResolveRefused, onceguard.Result{}); err != nil {
			t.Error(err)
		}
		if len(w.evidence(request("1"), onceguard.EvidenceConflict)) != 0 {
			t.Error("the same decision contradicts itself")
		}
	})
}

func TestLateOwnerAfterAPersonsDecision(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		w.store.set(only("renew", down))
		owner := w.running(w.guard, r, refund{"late", 1}, nil)
		time.Sleep(2 * time.Minute)
		_, _ = onceguard.Do(w.ctx, w.another(), r, w.never())
		if _, err := w.resolve(r, 1, onceguard.ResolveRefused, onceguard.Result{}); err != nil {
			t.Fatal(err)
		}
		got := owner()
		w.want(got.err, onceguard.ErrRefused)
		if len(w.evidence(r, onceguard.EvidenceConflict)) != 1 || w.events.count(onceguard.EventConflict) != 1 {
			t.Error("the contradiction is not kept")
		}
	})
}

func TestSweeper(t *testing.T) {
	virtual(t, func(w *world) {
		w.store.set(only("settle", down))
		for _, id := range []string{"1", "2", "3"} {
			_, err := w.do(request(id), w.ok())
			w.want(err, onceguard.ErrUnsettled)
		}
		_, err := w.do(under(onceguard.Rerun, "again"), w.ok())
		w.want(err, onceguard.ErrUnsettled)
		ctx, cancel := context.WithCancel(w.ctx)
		done := make(chan error)
		s := w.guard.Sweeper(onceguard.SweeperOptions{Limit: 2})
		go func() { done <- s.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		for _, id := range []string{"1", "2", "3"} {
			w.wantState(request(id), onceguard.Uncertain, 1)
		}
		w.wantState(request("again"), onceguard.Claimed, 1) // left to the next claim
		swept := 0
		for _, e := range w.events.all() {
			if e.Kind == onceguard.EventSwept {
				swept += e.Count
			}
		}
		if swept != 3 {
			t.Errorf("events count %d", swept)
		}
		w.store.set(nil)
		time.Sleep(time.Minute)
		w.mustDo(request("1"), w.never())
		time.Sleep(31 * 24 * time.Hour)
		if !w.record(request("1")).Pruned || w.events.count(onceguard.EventPruned) == 0 {
			t.Error("not pruned by Run")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestSweeperSurvivesTheStore(t *testing.T) {
	virtual(t, func(w *world) {
		g, err := onceguard.New(w.ctx, noSweep{w.store}, w.options())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
		defer cancel()
		if err := g.Sweeper(onceguard.SweeperOptions{PruneEvery: 20 * time.Second}).Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := w.events.count(onceguard.EventStoreRetry); n < 6 {
			t.Errorf("%d failures observed", n)
		}
	})
}

type noSweep struct{ *faults }

func (noSweep) Sweep(context.Context, int) ([]onceguard.Record, error) { return nil, errLine }

func (noSweep) Prune(context.Context, onceguard.PruneRequest) (onceguard.Pruned, error) {
	return onceguard.Pruned{}, errLine
}
