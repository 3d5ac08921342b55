package onceguard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
)

type traceKey struct{}

func TestCallerEndsBeforeTheClaim(t *testing.T) {
	virtual(t, func(w *world) {
		why := errors.New("the user went away")
		ctx, cancel := context.WithCancelCause(w.ctx)
		cancel(why)
		_, err := onceguard.Do(ctx, w.guard, request("1"), w.never())
		if e := w.want(err, onceguard.ErrNotRun); !errors.Is(err, why) || e.MayHaveRun {
			t.Errorf("%v", e)
		}
		if n := w.store.count("claim"); n != 0 {
			t.Errorf("%d claims for a caller that is gone", n)
		}
	})
}

func TestCallerEndsBetweenClaimAndStart(t *testing.T) {
	virtual(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		w.store.set(func(op string, _ int) fate {
			if op == "claim" {
				cancel()
			}
			return reach
		})
		_, err := onceguard.Do(ctx, w.guard, request("1"), w.never())
		if e := w.want(err, onceguard.ErrNotRun); !errors.Is(err, context.Canceled) || e.MayHaveRun {
			t.Errorf("%v", e)
		}
		w.wantState(request("1"), onceguard.Released, 1)
		w.mustDo(request("1"), w.ok())
		w.wantRuns(1)
	})
}

func TestCallerEndsWhileTheEffectRuns(t *testing.T) {
	virtual(t, func(w *world) {
		ctx, cancel := context.WithCancel(context.WithValue(w.ctx, traceKey{}, "trace-7"))
		rec, err := onceguard.Do(ctx, w.guard, request("1"), func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
			cancel()
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				t.Error("the effect's context ended with the caller's")
			}
			if _, has := ctx.Deadline(); has {
				t.Error("the effect's context has a deadline of the caller")
			}
			if ctx.Value(traceKey{}) != "trace-7" {
				t.Error("the caller's values are gone")
			}
			return refund{"re_1", 500}, nil
		})
		if err != nil || rec.Value.ID != "re_1" {
			t.Fatalf("%+v, %v", rec, err)
		}
		w.wantState(request("1"), onceguard.Succeeded, 1)
	})
}

// settleCtx lets a store see the context of its settle call.
type settleCtx struct {
	*faults
	see func(context.Context)
}

func (s settleCtx) Settle(ctx context.Context, q []onceguard.Settlement) ([]onceguard.Answer, error) {
	s.see(ctx)
	return s.faults.Settle(ctx, q)
}

func TestStoreCallsAreDetachedFromTheCaller(t *testing.T) {
	virtual(t, func(w *world) {
		seen := 0
		s := settleCtx{w.store, func(ctx context.Context) {
			seen++
			if ctx.Err() != nil {
				t.Error("the settle got the caller's ended context")
			}
			if ctx.Value(traceKey{}) != "trace-7" {
				t.Error("the settle's context lost the caller's values")
			}
			if _, has := ctx.Deadline(); !has {
				t.Error("a settle without an end of its own")
			}
		}}
		g, err := onceguard.New(w.ctx, s, w.options())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithValue(w.ctx, traceKey{}, "trace-7"))
		_, err = onceguard.Do(ctx, g, request("1"), func(context.Context, *onceguard.Attempt) (refund, error) {
			cancel()
			return refund{}, nil
		})
		if err != nil || seen != 1 {
			t.Errorf("%v after %d settles", err, seen)
		}
	})
}

func TestMaxRun(t *testing.T) {
	short := func(o *onceguard.Options) { o.Limits.MaxRun = 90 * time.Second }
	t.Run("at-most-once parks at once and a late result still settles", func(t *testing.T) {
		virtual(t, func(w *world) {
			r, start := request("1"), time.Now()
			rec, err := w.do(r, func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
				<-ctx.Done()
				if context.Cause(ctx) != onceguard.ErrMaxRun || time.Since(start) != 90*time.Second {
					t.Errorf("ended by %v after %s", context.Cause(ctx), time.Since(start))
				}
				synctest.Wait()
				w.wantState(r, onceguard.Uncertain, 1)
				_, err := onceguard.Do(w.ctx, w.another(), r, w.never())
				w.want(err, onceguard.ErrUncertain)
				return refund{"late", 1}, nil
			})
			if err != nil || rec.Value.ID != "late" || rec.Replayed {
				t.Errorf("%+v, %v", rec, err)
			}
			w.wantState(r, onceguard.Succeeded, 1)
			if w.events.count(onceguard.EventMaxRun) != 1 {
				t.Error("MaxRun was not observed once")
			}
		}, short)
	})
	t.Run("an effect that gives up is uncertain", func(t *testing.T) {
		virtual(t, func(w *world) {
			_, err := w.do(request("1"), func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
				<-ctx.Done()
				return refund{}, ctx.Err()
			})
			w.want(err, onceguard.ErrUncertain)
		}, short)
	})
	t.Run("rerun lets the lease run out and another take over", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := under(onceguard.Rerun, "1")
			r.Limits.Wait = 2 * time.Minute
			other := w.another()
			rec, err := w.do(r, func(ctx context.Context, _ *onceguard.Attempt) (refund, error) {
				w.runs.Add(1)
				<-ctx.Done()
				w.wantState(r, onceguard.Claimed, 1)
				won, err := onceguard.Do(w.ctx, other, r, w.act(refund{"second", 2}, nil))
				if err != nil || won.Attempt != 2 {
					t.Errorf("takeover: %+v, %v", won, err)
				}
				return refund{"first", 1}, nil
			})
			if err != nil || rec.Value.ID != "second" || !rec.Replayed {
				t.Errorf("the superseded owner got %+v, %v; want the winner's receipt", rec, err)
			}
			w.wantRuns(2)
		}, short)
	})
}

func TestDuplicateWaits(t *testing.T) {
	// The claim is another process's, so that the wait is one on the store.
	hold := func(w *world) func() answered { return w.running(w.another(), request("1"), refund{"re_1", 500}, nil) }
	timed := func(w *world, ctx context.Context, r onceguard.Request) (time.Duration, *onceguard.Error) {
		start := time.Now()
		_, err := onceguard.Do(ctx, w.guard, r, w.never())
		return time.Since(start), w.want(err, onceguard.ErrInProgress)
	}
	for where, hold := range map[string]func(w *world) func() answered{
		"other process": hold,
		"same process":  func(w *world) func() answered { return w.running(w.guard, request("1"), refund{"re_1", 500}, nil) },
	} {
		t.Run(where, func(t *testing.T) {
			virtual(t, func(w *world) {
				end := hold(w)
				r := request("1")
				r.Limits.Wait = -1
				took, e := timed(w, w.ctx, r)
				if took != 0 || !e.MayHaveRun || e.RetryAfter <= 0 || e.RetryAfter > time.Minute || e.State != onceguard.Claimed || e.Attempt != 1 {
					t.Errorf("Wait<0: %s, %+v", took, e)
				}
				took, _ = timed(w, w.ctx, request("1"))
				if took != onceguard.DefaultWait {
					t.Errorf("default: waited %s", took)
				}
				r.Limits.Wait = 7 * time.Second
				if took, _ = timed(w, w.ctx, r); took != 7*time.Second {
					t.Errorf("Wait 7s: waited %s", took)
				}
				ctx, cancel := context.WithTimeout(w.ctx, 100*time.Second)
				defer cancel()
				took, e = timed(w, ctx, request("1"))
				if took != 100*time.Second || !errors.Is(e, context.DeadlineExceeded) {
					t.Errorf("deadline: waited %s, %v", took, e)
				}
				if got := end(); got.err != nil {
					t.Error(got.err)
				}
				w.wantRuns(1)
			})
		})
		t.Run(where+" gets the receipt", func(t *testing.T) {
			virtual(t, func(w *world) {
				end := hold(w)
				got := make(chan answered)
				go func() {
					rec, err := w.do(request("1"), w.never())
					got <- answered{rec, err}
				}()
				time.Sleep(5 * time.Second)
				first := end()
				dup := <-got
				if dup.err != nil || !dup.rec.Replayed || dup.rec.Value != first.rec.Value {
					t.Errorf("%+v", dup)
				}
			})
		})
	}
}

func TestWaitersOnlyReadAndThenClaimOnce(t *testing.T) {
	virtual(t, func(w *world) {
		end := w.running(w.another(), request("1"), refund{}, onceguard.NotExecuted(errors.New("refused")))
		claims := w.store.count("claim")
		got := make(chan answered)
		go func() {
			rec, err := w.do(request("1"), w.ok())
			got <- answered{rec, err}
		}()
		time.Sleep(20 * time.Second)
		if n := w.store.count("claim") - claims; n != 1 {
			t.Errorf("%d claims while waiting, want the first alone", n)
		}
		w.want(end().err, onceguard.ErrNotExecuted)
		dup := <-got
		if dup.err != nil || dup.rec.Attempt != 2 || dup.rec.Replayed {
			t.Errorf("%+v", dup)
		}
		if n := w.store.count("claim") - claims; n != 2 {
			t.Errorf("%d claims in all, want one more after the release", n)
		}
		if n := w.store.count("get"); n < 20 || n > 100 {
			t.Errorf("%d reads in 20 s, want about two a second", n)
		}
	})
}

func TestWaiterSeesTheRetryAfterOfTheLatestReading(t *testing.T) {
	virtual(t, func(w *world) {
		end := w.running(w.another(), request("1"), refund{}, nil)
		defer end()
		time.Sleep(10 * time.Second) // the lease has 50 s left, renewed at 20, 40, ... s
		r := request("1")
		r.Limits.Wait = 9 * time.Second
		_, err := w.do(r, w.never())
		if e := w.want(err, onceguard.ErrInProgress); e.RetryAfter < 41*time.Second || e.RetryAfter > 42*time.Second {
			t.Errorf("retry after %s, want the 41 s that remain", e.RetryAfter)
		}
	})
}
