package onceguard_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

func TestThousandCallersOfOneKey(t *testing.T) {
	virtual(t, func(w *world) {
		const callers = 1000
		recs := make([]onceguard.Receipt[refund], callers)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range callers {
			wg.Go(func() {
				<-start
				var err error
				recs[i], err = w.do(request("1"), func(context.Context, *onceguard.Attempt) (refund, error) {
					w.runs.Add(1)
					time.Sleep(time.Second)
					return refund{"re_1", 500}, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		wg.Wait()
		w.wantRuns(1)
		replays := 0
		for _, r := range recs {
			if r.Replayed {
				replays++
			}
			r.Replayed = recs[0].Replayed
			if diff := cmp.Diff(recs[0], r); diff != "" {
				t.Fatalf("receipts differ\n%s", diff)
			}
		}
		if replays != callers-1 {
			t.Errorf("%d replays", replays)
		}
		if c, s, g := w.store.count("claim"), w.store.count("settle"), w.store.count("get"); c != 1 || s != 1 || g != 0 {
			t.Errorf("%d claims, %d settles, %d gets for 1,000 callers; want 1, 1, 0", c, s, g)
		}
	})
}

func TestThousandCallersOfAFinalKey(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		before := w.store.count("claim")
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if rec, err := w.do(request("1"), w.never()); err != nil || !rec.Replayed {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := w.store.count("claim") - before; n < 1 || n > 1000 || w.store.count("get") != 0 {
			t.Errorf("%d claims, %d gets", n, w.store.count("get"))
		}
	}, uncached)
}

func TestStoreFailureIsSharedByTheWaiters(t *testing.T) {
	virtual(t, func(w *world) {
		w.store.set(only("claim", down))
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_, err := w.do(request("1"), w.never())
				w.want(err, onceguard.ErrNotRun)
			})
		}
		wg.Wait()
		if took := time.Since(start); took > 12*time.Second || w.store.count("claim") > 60 {
			t.Errorf("%d claims in %s: each waiter asked again", w.store.count("claim"), took)
		}
	})
}

func TestALeaderThatIsCancelledDoesNotCancelOthers(t *testing.T) {
	virtual(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		w.store.set(func(op string, n int) fate {
			if op == "claim" && n == 1 {
				time.Sleep(time.Second) // followers join meanwhile
				cancel()
			}
			return reach
		})
		leader := make(chan error)
		go func() {
			_, err := onceguard.Do(ctx, w.guard, request("1"), w.never())
			leader <- err
		}()
		synctest.Wait()
		rec, err := w.do(request("1"), w.ok())
		if err != nil || rec.Attempt != 2 {
			t.Errorf("%+v, %v", rec, err)
		}
		w.want(<-leader, onceguard.ErrNotRun)
	})
}

func TestALeaderThatGivesUpDoesNotSpeakForOthers(t *testing.T) {
	virtual(t, func(w *world) {
		w.store.set(first("claim", 8, lostBefore))
		ctx, cancel := context.WithTimeout(w.ctx, 100*time.Millisecond)
		defer cancel()
		leader := make(chan error)
		go func() {
			_, err := onceguard.Do(ctx, w.guard, request("1"), w.never())
			leader <- err
		}()
		synctest.Wait()
		w.mustDo(request("1"), w.ok()) // waited for the leader, then went itself
		w.want(<-leader, onceguard.ErrNotRun)
		w.wantRuns(1)
	})
}

func TestWaiterWithAnotherInputOnAReplay(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		w.store.set(func(op string, _ int) fate {
			if op == "claim" {
				time.Sleep(time.Second) // the leader's answer is on its way
			}
			return reach
		})
		leader := make(chan error)
		go func() {
			_, err := w.do(request("1"), w.never())
			leader <- err
		}()
		synctest.Wait()
		other := request("1")
		other.Input = "another"
		_, err := w.do(other, w.never())
		w.want(err, onceguard.ErrMismatch)
		if err := <-leader; err != nil {
			t.Error(err)
		}
	})
}

func TestWaitersOfAPanicAndOfUncertain(t *testing.T) {
	for name, end := range map[string]effect{
		"panic": func(context.Context, *onceguard.Attempt) (refund, error) { time.Sleep(time.Second); panic("boom") },
		"uncertain": func(context.Context, *onceguard.Attempt) (refund, error) {
			time.Sleep(time.Second)
			return refund{}, errors.New("EOF")
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					_, _ = w.do(request("1"), end)
				}()
				synctest.Wait()
				start := time.Now()
				_, err := w.do(request("1"), w.never())
				if e := w.want(err, onceguard.ErrUncertain); e.Err != nil || time.Since(start) != time.Second {
					t.Errorf("after %s: %+v", time.Since(start), e)
				}
				<-done
			})
		})
	}
}

func TestMismatchInEveryState(t *testing.T) {
	other := func() onceguard.Request {
		r := request("1")
		r.Input = map[string]any{"cents": 999}
		return r
	}
	states := map[string]func(w *world){
		"succeeded":           func(w *world) { w.mustDo(request("1"), w.ok()) },
		"failed":              func(w *world) { _, _ = w.do(request("1"), w.act(refund{}, onceguard.Refused(errors.New("no")))) },
		"uncertain":           func(w *world) { w.uncertain(request("1")) },
		"claimed, lease over": func(w *world) { _, _ = w.do(under(onceguard.Rerun, "1"), w.act(refund{}, errors.New("504"))) },
		"waived": func(w *world) {
			w.uncertain(request("1"))
			if _, err := w.guard.Resolve(w.ctx, onceguard.Resolution{ID: w.id(request("1")), Attempt: 1, Verdict: onceguard.ResolveRunAgain, By: "ann", Reason: "x"}); err != nil {
				w.Fatal(err)
			}
		},
	}
	for name, arrange := range states {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				arrange(w)
				before := w.record(request("1"))
				for _, r := range []onceguard.Request{other(), {Action: "refund.create", Key: onceguard.KeyOf("order", "1")}, {Action: "refund.create", Key: onceguard.KeyOf("order", "1"), RawInput: []byte(`{"cents":500}`)}} {
					rec, err := w.do(r, w.never())
					e := w.want(err, onceguard.ErrMismatch)
					// It reveals nothing else.
					if e.State != onceguard.Absent || e.Attempt != 0 || !e.Since.IsZero() || e.Reason != "" || e.SettledBy != "" || rec.State != onceguard.Absent {
						t.Errorf("reveals %+v, %+v", e, rec)
					}
				}
				if diff := cmp.Diff(before, w.record(request("1"))); diff != "" {
					t.Errorf("the original was touched\n%s", diff)
				}
			})
		})
	}
	for name, guard := range map[string]func(w *world) *onceguard.Guard{
		"in flight, same process":  func(w *world) *onceguard.Guard { return w.guard },
		"in flight, other process": func(w *world) *onceguard.Guard { return w.another() },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				end := w.running(guard(w), request("1"), refund{"re_1", 500}, nil)
				for _, wait := range []time.Duration{0, -1, time.Minute} {
					r, start := other(), time.Now()
					r.Limits.Wait = wait
					_, err := w.do(r, w.never())
					w.want(err, onceguard.ErrMismatch)
					if time.Since(start) != 0 {
						t.Errorf("wait %s: answered after %s, want at once", wait, time.Since(start))
					}
				}
				if got := end(); got.err != nil {
					t.Error(got.err)
				}
			})
		})
	}
	t.Run("behind a waiter of the same process", func(t *testing.T) {
		virtual(t, func(w *world) {
			end := w.running(w.another(), request("1"), refund{"re_1", 500}, nil)
			waiter := make(chan error)
			go func() {
				_, err := w.do(request("1"), w.never())
				waiter <- err
			}()
			synctest.Wait()
			start := time.Now()
			_, err := w.do(other(), w.never())
			w.want(err, onceguard.ErrMismatch)
			if time.Since(start) != 0 {
				t.Errorf("answered after %s", time.Since(start))
			}
			end()
			if err := <-waiter; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("released is none", func(t *testing.T) {
		virtual(t, func(w *world) {
			_, _ = w.do(request("1"), w.act(refund{}, onceguard.NotExecuted(errors.New("dial"))))
			if rec := w.mustDo(other(), w.ok()); rec.Attempt != 2 {
				t.Errorf("%+v", rec)
			}
			if len(w.evidence(request("1"), onceguard.EvidenceFingerprint)) != 1 {
				t.Error("the new input left no evidence")
			}
			_, err := w.do(request("1"), w.never())
			w.want(err, onceguard.ErrMismatch)
		})
	})
}
