package onceguard_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// The simulation found both: what a call is told after another attempt took
// its request over.

func TestSupersededCallDoesNotSayThatNothingRan(t *testing.T) {
	virtual(t, func(w *world) {
		r := under(onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten), "7")
		end := w.running(w.guard, r, refund{}, errors.New("504 from the provider"))
		w.jumped.Add(int64(2 * onceguard.DefaultLease))
		other := w.another()
		second := make(chan struct{})
		go func() {
			defer close(second)
			_, _ = onceguard.Do(w.ctx, other, r, func(context.Context, *onceguard.Attempt) (refund, error) {
				time.Sleep(time.Minute)
				return refund{"re_1", 500}, nil
			})
		}()
		for w.record(r).Attempt < 2 {
			time.Sleep(time.Second)
		}
		w.store.set(func(op string, _ int) fate {
			if op == "claim" {
				return down
			}
			return reach
		})
		e := w.want(end().err, onceguard.ErrUncertain)
		if !e.MayHaveRun {
			t.Errorf("%v says that nothing ran, and it did", e)
		}
		w.store.set(nil)
		<-second
		w.close(other)
	})
}

// TestReleasedAttemptIsNotCalledUncertain: it surely did nothing, also if its
// release is answered only after another attempt was released too.
func TestReleasedAttemptIsNotCalledUncertain(t *testing.T) {
	virtual(t, func(w *world) {
		r, dial := request("7"), onceguard.NotExecuted(errors.New("cannot dial"))
		w.meanwhile(r, func(g *onceguard.Guard) {
			_, err := onceguard.Do(w.ctx, g, r, w.act(refund{}, dial))
			w.want(err, onceguard.ErrNotExecuted)
		})
		_, err := w.do(r, w.act(refund{}, dial))
		if e := w.want(err, onceguard.ErrNotExecuted); e.MayHaveRun {
			t.Errorf("%v says that it may have run", e)
		}
	})
}

func TestReleasedAttemptGetsNoOtherInputsReceipt(t *testing.T) {
	virtual(t, func(w *world) {
		w.meanwhile(request("7"), func(g *onceguard.Guard) {
			other := request("7")
			other.Input = map[string]any{"cents": 999}
			if _, err := onceguard.Do(w.ctx, g, other, w.ok()); err != nil {
				t.Error(err)
			}
		})
		rec, err := w.do(request("7"), w.act(refund{}, onceguard.NotExecuted(errors.New("cannot dial"))))
		if e := w.want(err, onceguard.ErrMismatch); e.MayHaveRun || rec.Value != (refund{}) {
			t.Errorf("got %+v, %v", rec, e)
		}
	})
}

// meanwhile applies the first settle of r and loses its answer; before it is
// sent again, then runs on a guard of another process.
func (w *world) meanwhile(r onceguard.Request, then func(*onceguard.Guard)) {
	w.store.set(func(op string, n int) fate {
		if op != "settle" || n > 1 {
			return reach
		}
		go func() {
			g := w.another()
			defer w.close(g)
			for w.record(r).State != onceguard.Released {
				time.Sleep(time.Microsecond)
			}
			then(g)
		}()
		return lostAfter
	})
}
