package onceguard_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// book writes a row and ends as told.
func (w *world) book(err error) func(context.Context, *memstore.Tx) (refund, error) {
	return func(_ context.Context, tx *memstore.Tx) (refund, error) {
		w.runs.Add(1)
		tx.Put("balance", []byte("500"))
		return refund{"re_1", 500}, err
	}
}

func (w *world) wantRow(want string) {
	w.Helper()
	if got, _ := w.store.Row("balance"); string(got) != want {
		w.Errorf("row is %q, want %q", got, want)
	}
}

func TestDoTxCommitsRowsAndReceiptTogether(t *testing.T) {
	virtual(t, func(w *world) {
		for i := range 3 {
			rec, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(nil))
			if err != nil || rec.Value.ID != "re_1" || rec.Replayed != (i > 0) || rec.SettledBy != "owner" {
				t.Fatalf("%d: %+v, %v", i, rec, err)
			}
		}
		w.wantRow("500")
		w.wantRuns(1)
		rec := w.wantState(request("1"), onceguard.Succeeded, 1)
		if rec.Policy.Kind != onceguard.TransactionalKind {
			t.Errorf("policy %s", rec.Policy.Kind)
		}
		// Do replays what DoTx did.
		if got := w.mustDo(request("1"), w.never()); !got.Replayed {
			t.Errorf("%+v", got)
		}
	})
}

func TestDoTxRollsBack(t *testing.T) {
	own := errors.New("insufficient funds")
	for name, verdict := range map[string]error{"error": own, "refused": onceguard.Refused(own), "not executed": onceguard.NotExecuted(own)} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				_, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(verdict))
				if e := w.want(err, onceguard.ErrNotExecuted); !errors.Is(err, own) || e.MayHaveRun {
					t.Errorf("%v", e)
				}
				w.wantRow("")
				w.wantState(request("1"), onceguard.Absent, 0)
				if _, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(nil)); err != nil {
					t.Error(err)
				}
				w.wantRow("500")
			})
		})
	}
	t.Run("panic", func(t *testing.T) {
		virtual(t, func(w *world) {
			func() {
				defer func() {
					if got := recover(); got != "boom" {
						t.Errorf("recovered %v", got)
					}
				}()
				_, _ = onceguard.DoTx(w.ctx, w.guard, request("1"), func(_ context.Context, tx *memstore.Tx) (refund, error) {
					tx.Put("balance", []byte("1"))
					panic("boom")
				})
			}()
			w.wantRow("")
			w.wantState(request("1"), onceguard.Absent, 0)
			if _, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(nil)); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("the caller ends inside", func(t *testing.T) {
		virtual(t, func(w *world) {
			ctx, cancel := context.WithCancelCause(w.ctx)
			why := errors.New("shutting down")
			_, err := onceguard.DoTx(ctx, w.guard, request("1"), func(ctx context.Context, tx *memstore.Tx) (refund, error) {
				tx.Put("balance", []byte("1"))
				cancel(why)
				<-ctx.Done()
				if context.Cause(ctx) != why {
					t.Errorf("cause %v", context.Cause(ctx))
				}
				return refund{}, nil
			})
			if e := w.want(err, onceguard.ErrNotRun); e.MayHaveRun || !errors.Is(err, why) || !strings.Contains(e.Error(), "rolled back") {
				t.Errorf("%v", e)
			}
			w.wantRow("")
			w.wantState(request("1"), onceguard.Absent, 0)
			_, err = onceguard.DoTx(ctx, w.guard, request("1"), w.book(nil))
			w.want(err, onceguard.ErrNotRun)
		})
	})
	t.Run("MaxRun", func(t *testing.T) {
		virtual(t, func(w *world) {
			_, err := onceguard.DoTx(w.ctx, w.guard, request("1"), func(ctx context.Context, tx *memstore.Tx) (refund, error) {
				<-ctx.Done()
				return refund{}, context.Cause(ctx)
			})
			if w.want(err, onceguard.ErrNotExecuted); !errors.Is(err, onceguard.ErrMaxRun) {
				t.Error(err)
			}
		})
	})
}

func TestDoTxIsRefused(t *testing.T) {
	virtual(t, func(w *world) {
		_, err := onceguard.DoTx(w.ctx, w.guard, request("1"), func(context.Context, *sql.Tx) (refund, error) { return refund{}, nil })
		if e := w.want(err, onceguard.ErrInvalid); !strings.Contains(e.Reason, "*sql.Tx") || !strings.Contains(e.Reason, "*memstore.Tx") {
			t.Errorf("%v", e)
		}
		_, err = onceguard.DoTx(w.ctx, w.guard, under(onceguard.Rerun, "1"), w.book(nil))
		w.want(err, onceguard.ErrInvalid)
		_, err = w.do(under(onceguard.Transactional, "1"), w.never())
		if e := w.want(err, onceguard.ErrInvalid); !strings.Contains(e.Reason, "DoTx") {
			t.Errorf("%v", e)
		}
		g, err := onceguard.New(w.ctx, plainStore{w.store.Store}, w.options())
		if err != nil {
			t.Fatal(err)
		}
		_, err = onceguard.DoTx(w.ctx, g, request("1"), w.book(nil))
		w.want(err, onceguard.ErrInvalid)
		w.wantRuns(0)
	})
}

// plainStore has no second interface.
type plainStore struct{ onceguard.Store }

func TestDoTxNested(t *testing.T) {
	virtual(t, func(w *world) {
		var same, other error
		_, err := onceguard.DoTx(w.ctx, w.guard, request("1"), func(ctx context.Context, _ *memstore.Tx) (refund, error) {
			_, same = onceguard.DoTx(ctx, w.guard, request("1"), w.book(nil))
			_, other = onceguard.DoTx(ctx, w.guard, request("2"), w.book(nil)) // would wait for its own transaction
			return refund{}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.want(same, onceguard.ErrInvalid)
		w.want(other, onceguard.ErrNotRun)
		w.wantRuns(0)
	})
}

func TestDoTxKeepsTheRuleOfOtherRows(t *testing.T) {
	virtual(t, func(w *world) {
		w.uncertain(request("1"))
		_, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(nil))
		if e := w.want(err, onceguard.ErrUncertain); e.Attempt != 1 {
			t.Errorf("%+v", e)
		}
		r := request("2")
		r.Input = 1
		if _, err := onceguard.DoTx(w.ctx, w.guard, r, w.book(nil)); err != nil {
			t.Fatal(err)
		}
		r.Input = 2
		_, err = onceguard.DoTx(w.ctx, w.guard, r, w.book(nil))
		w.want(err, onceguard.ErrMismatch)

		held := w.running(w.another(), request("3"), refund{"re_3", 3}, nil)
		short := request("3")
		short.Limits.Wait = time.Second
		_, err = onceguard.DoTx(w.ctx, w.guard, short, w.book(nil))
		w.want(err, onceguard.ErrInProgress)
		got := make(chan onceguard.Receipt[refund])
		go func() {
			rec, err := onceguard.DoTx(w.ctx, w.guard, request("3"), w.book(nil))
			if err != nil {
				t.Error(err)
			}
			got <- rec
		}()
		time.Sleep(time.Second)
		held()
		if rec := <-got; rec.Value.ID != "re_3" || !rec.Replayed {
			t.Errorf("%+v", rec)
		}
		// A released row is claimed in the transaction.
		_, _ = w.do(request("4"), w.act(refund{}, onceguard.NotExecuted(errEOF)))
		rec, err := onceguard.DoTx(w.ctx, w.guard, request("4"), w.book(nil))
		if err != nil || rec.Attempt != 2 {
			t.Errorf("%+v, %v", rec, err)
		}
	})
}

func TestDoTxConcurrently(t *testing.T) {
	virtual(t, func(w *world) {
		var wg sync.WaitGroup
		for i := range 50 {
			g := w.guard
			if i%2 == 1 {
				g = w.another()
			}
			wg.Go(func() {
				rec, err := onceguard.DoTx(w.ctx, g, request("1"), func(ctx context.Context, tx *memstore.Tx) (refund, error) {
					time.Sleep(time.Millisecond)
					return w.book(nil)(ctx, tx)
				})
				if err != nil || rec.Value.ID != "re_1" {
					t.Errorf("%+v, %v", rec, err)
				}
			})
		}
		wg.Wait()
		w.wantRuns(1)
		synctest.Wait()
	})
}

// txFaults fails Transact after its transaction committed, or before it began.
type txFaults struct {
	*faults
	fail *onceguard.StoreError
}

func (s txFaults) Transact(ctx context.Context, c onceguard.Claim, fn func(context.Context, any) (onceguard.Result, error)) (onceguard.Answer, error) {
	if s.fail.Clean {
		return onceguard.Answer{}, s.fail
	}
	if _, err := s.faults.Transact(ctx, c, fn); err != nil {
		return onceguard.Answer{}, err
	}
	return onceguard.Answer{}, s.fail
}

func TestDoTxStoreFailures(t *testing.T) {
	virtual(t, func(w *world) {
		s := txFaults{w.store, &onceguard.StoreError{Op: "transact", Clean: true, Err: errLine}}
		g, err := onceguard.New(w.ctx, s, w.options())
		if err != nil {
			t.Fatal(err)
		}
		_, err = onceguard.DoTx(w.ctx, g, request("1"), w.book(nil))
		if e := w.want(err, onceguard.ErrNotRun); e.MayHaveRun {
			t.Errorf("%v", e)
		}
		s.fail.Clean = false
		_, err = onceguard.DoTx(w.ctx, g, request("1"), w.book(nil))
		if e := w.want(err, onceguard.ErrUncertain); !e.MayHaveRun {
			t.Errorf("%v", e)
		}
		// The same call again reads it.
		rec, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(nil))
		if err != nil || !rec.Replayed {
			t.Errorf("%+v, %v", rec, err)
		}
		w.wantRuns(1)
	})
}
