package storesuite

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

var transactCases = []testCase{
	{"the receipt and the caller's rows commit together", transactCommits},
	{"an error rolls back everything", transactError},
	{"a panic and Goexit roll back everything", transactPanic},
	{"a final record is replayed, nothing runs", transactReplay},
	{"a released record may be completed", transactReleased},
	{"any other record keeps its own rule", transactOther},
	{"a duplicate does not run beside it", transactDuplicate},
	{"of many at once one runs", transactRace},
	{"nothing starts in a frozen store", transactFrozen},
	{"a context that has ended starts nothing", transactCancelled},
}

type effect = func(ctx context.Context, tx any) (onceguard.Result, error)

func (e *env) transactor() onceguard.Transactor {
	e.Helper()
	x, ok := e.Store.(onceguard.Transactor)
	if !ok {
		e.Skip("the store is no onceguard.Transactor")
	}
	if e.WriteRow == nil || e.ReadRow == nil {
		e.Skip("the harness has no WriteRow and ReadRow")
	}
	return x
}

func (e *env) transact(c onceguard.Claim, fn effect, o onceguard.Outcome, t onceguard.Transition) onceguard.Answer {
	e.Helper()
	a, err := e.transactor().Transact(e.ctx, c, fn)
	e.must(err)
	return e.want(a, o, t)
}

// pays writes a row named after the request.
func (e *env) pays(c onceguard.Claim) effect {
	return func(ctx context.Context, tx any) (onceguard.Result, error) {
		if err := e.WriteRow(ctx, tx, c.ID.String(), "paid"); err != nil {
			return onceguard.Result{}, err
		}
		return onceguard.NewResult("refund/1", []byte("paid")), nil
	}
}

func (e *env) forbidden(why string) effect {
	return func(context.Context, any) (onceguard.Result, error) {
		e.Errorf("the effect ran: %s", why)
		return onceguard.Result{}, errors.New(why)
	}
}

func (e *env) row(c onceguard.Claim, want bool) {
	e.Helper()
	if _, got := e.ReadRow(c.ID.String()); got != want {
		e.Errorf("the caller's row is there: %v, want %v", got, want)
	}
}

func (e *env) transactional(options ...option) onceguard.Claim {
	return e.request(append([]option{under(onceguard.Transactional)}, options...)...)
}

func transactCommits(e *env) {
	if e.transactor().TxType() == "" {
		e.Error("the transaction type has no name")
	}
	c := e.transactional()
	a := e.transact(c, e.pays(c), onceguard.Settled, onceguard.T11)
	if !a.Mine {
		e.Error("the receipt is not answered as mine")
	}
	r := e.state(c.ID, onceguard.Succeeded, 1)
	e.same(a.Record, r)
	if r.SettledBy != "owner" || string(r.Result.Body) != "paid" || !r.Result.Intact() || !r.LeaseUntil.IsZero() || !r.Owner.Is(c.Owner) {
		e.Errorf("the receipt is %+v", r)
	}
	e.row(c, true)
}

func transactError(e *env) {
	c := e.transactional()
	boom := errors.New("boom")
	_, err := e.transactor().Transact(e.ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
		if _, err := e.pays(c)(ctx, tx); err != nil {
			return onceguard.Result{}, err
		}
		return onceguard.Result{}, boom
	})
	if !errors.Is(err, boom) {
		e.Fatalf("the effect's own error is lost: %v", err)
	}
	e.missing(c.ID)
	e.row(c, false)
	e.evidence(c.ID)
	e.transact(again(c), e.pays(c), onceguard.Settled, onceguard.T11)
	e.state(c.ID, onceguard.Succeeded, 1)
}

func transactPanic(e *env) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		c := e.transactional()
		x := e.transactor()
		var all sync.WaitGroup
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil && p != "boom" {
					e.Errorf("%s became %v", name, p)
				}
			}()
			_, err := x.Transact(e.ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
				if _, err := e.pays(c)(ctx, tx); err != nil {
					e.Error(err)
				}
				end()
				return onceguard.Result{}, nil
			})
			if err == nil {
				e.Errorf("%s was swallowed", name)
			}
		})
		all.Wait()
		e.missing(c.ID)
		e.row(c, false)
		e.transact(again(c), e.pays(c), onceguard.Settled, onceguard.T11)
	}
}

func transactReplay(e *env) {
	c := e.transactional()
	e.transact(c, e.pays(c), onceguard.Settled, onceguard.T11)
	before := e.found(c.ID)
	e.same(before, e.transact(again(c), e.forbidden("replay"), onceguard.Settled, onceguard.NoTransition).Record)
	e.transact(c, e.forbidden("own claim again"), onceguard.Settled, onceguard.NoTransition)
	other := again(c)
	other.Fingerprints = []onceguard.Fingerprint{print("other")}
	e.transact(other, e.forbidden("mismatch"), onceguard.Mismatched, onceguard.NoTransition)
	e.claim(again(c), onceguard.Settled, onceguard.NoTransition)
	old := e.transactional(retained(time.Hour, time.Hour))
	old.IssuedAt = e.now().Add(-2 * time.Hour)
	e.transact(old, e.forbidden("too old"), onceguard.TooOld, onceguard.NoTransition)
	e.missing(old.ID)
}

func transactReleased(e *env) {
	c := e.granted(under(onceguard.Transactional))
	e.release(c, 1)
	e.transact(c, e.forbidden("the released token"), onceguard.Fenced, onceguard.NoTransition)
	second := again(c)
	boom := errors.New("boom")
	if _, err := e.transactor().Transact(e.ctx, second, func(context.Context, any) (onceguard.Result, error) { return onceguard.Result{}, boom }); !errors.Is(err, boom) {
		e.Errorf("answered %v", err)
	}
	e.state(c.ID, onceguard.Released, 1)
	e.transact(again(c), e.pays(c), onceguard.Settled, onceguard.T11)
	e.state(c.ID, onceguard.Succeeded, 2)
	e.row(c, true)
}

func transactOther(e *env) {
	held := e.granted()
	e.transact(again(held), e.forbidden("held"), onceguard.Held, onceguard.NoTransition)
	parked := e.parked()
	e.transact(again(parked), e.forbidden("uncertain"), onceguard.Parked, onceguard.NoTransition)
	lapsed := e.granted(leased(brief))
	e.lapse()
	e.transact(again(lapsed), e.forbidden("lapsed"), onceguard.Parked, onceguard.T5)
	e.state(lapsed.ID, onceguard.Uncertain, 1)
	unknown := e.lost(under(rerun))
	e.release(unknown, 2)
	e.transact(again(unknown, under(onceguard.Transactional)), e.forbidden("an attempt is unknown"), onceguard.Parked, onceguard.T3)
	e.state(unknown.ID, onceguard.Uncertain, 2)
}

// A duplicate waits, or is told that the first is in progress. Either way it
// does not run, and sees nothing that is not committed.
func transactDuplicate(e *env) {
	c := e.transactional()
	x := e.transactor()
	running, finish := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		a, err := x.Transact(e.ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
			close(running)
			<-finish
			return e.pays(c)(ctx, tx)
		})
		if err != nil || a.Transition != onceguard.T11 {
			e.Errorf("the first: %s, %v", a.Transition, err)
		}
	})
	<-running
	short, stop := context.WithTimeout(e.ctx, 50*time.Millisecond)
	defer stop()
	a, err := x.Transact(short, again(c), e.forbidden("beside the first"))
	switch {
	case err == nil && a.Outcome != onceguard.Held:
		e.Errorf("the duplicate is answered %s", a.Outcome)
	case err != nil:
		e.failed(err)
	}
	all.Go(func() { // this one waits for the end
		for {
			a, err := x.Transact(e.ctx, again(c), e.forbidden("beside the first"))
			if err == nil && a.Outcome == onceguard.Held {
				time.Sleep(brief)
				continue
			}
			if err != nil || a.Outcome != onceguard.Settled {
				e.Errorf("the waiting duplicate: %s, %v", a.Outcome, err)
			}
			return
		}
	})
	close(finish)
	all.Wait()
	e.state(c.ID, onceguard.Succeeded, 1)
}

func transactRace(e *env) {
	x := e.transactor()
	for range 3 {
		c := e.transactional()
		var mu sync.Mutex
		ran := 0
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				mine := again(c)
				for {
					a, err := x.Transact(e.ctx, mine, func(ctx context.Context, tx any) (onceguard.Result, error) {
						return e.pays(c)(ctx, tx)
					})
					var se *onceguard.StoreError
					if err == nil && a.Outcome == onceguard.Held || errors.As(err, &se) && se.Clean && e.ctx.Err() == nil {
						time.Sleep(brief)
						continue
					}
					if err != nil || a.Outcome != onceguard.Settled {
						e.Errorf("answered %s, %v", a.Outcome, err)
						return
					}
					if a.Transition == onceguard.T11 {
						mu.Lock()
						ran++
						mu.Unlock()
					}
					return
				}
			})
		}
		all.Wait()
		if ran != 1 {
			e.Errorf("%d transactions of one request committed", ran)
		}
		e.state(c.ID, onceguard.Succeeded, 1)
	}
}

func transactFrozen(e *env) {
	e.transactor()
	e.freeze()
	c := e.transactional()
	e.transact(c, e.forbidden("frozen"), onceguard.Frozen, onceguard.NoTransition)
	e.missing(c.ID)
}

func transactCancelled(e *env) {
	x := e.transactor()
	c := e.transactional()
	ended, end := context.WithCancel(e.ctx)
	end()
	if _, err := x.Transact(ended, c, e.forbidden("the context had ended")); err == nil {
		e.Error("a transaction under an ended context succeeded")
	} else {
		e.failed(err)
	}
	e.missing(c.ID)
}
