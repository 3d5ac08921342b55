package onceguard

import (
	"context"
	"fmt"
	"reflect"

	"github.com/onceguard/onceguard/internal/fault"
)

// DoTx runs fn in one transaction of the store's own database: the claim, the
// rows that fn writes and the receipt commit together or not at all. That is
// the one case in which "exactly once" holds without another condition: there
// is no lease, no takeover and nothing uncertain.
//
// Tx is the store's transaction type: pgx.Tx for pgstore, *sql.Tx for
// sqlitestore. fn must do nothing but use it: a call to the outside world made
// inside is not undone by a rollback. fn may be called again after a rollback
// (a serialization failure), so it must not count on running once. An error or
// a panic of fn rolls everything back and leaves no trace, Refused included.
//
// A duplicate waits on the row's lock, then replays; past the lock timeout it
// gets ErrInProgress. The request's policy is Transactional; a record of the
// same key that another policy left keeps its own rule.
func DoTx[Tx, T any](ctx context.Context, g *Guard, r Request, fn func(ctx context.Context, tx Tx) (T, error)) (Receipt[T], error) {
	if r.Policy.repeats() {
		return Receipt[T]{}, &Error{Code: ErrInvalid, Action: r.Action, Key: r.Key.String(), Reason: "DoTx takes no policy but Transactional"}
	}
	r.Policy = Transactional
	c, err := g.prepare(ctx, r, reflect.TypeFor[T]())
	if err != nil {
		return Receipt[T]{}, err
	}
	tr, ok := g.store.(Transactor)
	if !ok {
		return Receipt[T]{}, c.fail(ErrInvalid, false, "this store has no transactional mode", nil)
	}
	if want := reflect.TypeFor[Tx]().String(); want != tr.TxType() {
		return Receipt[T]{}, c.fail(ErrInvalid, false, fmt.Sprintf("the effect wants a %s, this store's transactions are %s", want, tr.TxType()), nil)
	}
	var raw any
	c.transact = func(ctx context.Context, claim Claim) (Answer, error) {
		var own, ended error // of the latest try; either one rolled it back
		a, err := tr.Transact(context.WithoutCancel(ctx), claim, func(sctx context.Context, tx any) (Result, error) {
			// The store's context for its values, which tell it that it is
			// called from inside; the caller's for its end: while nothing is
			// committed, that may roll everything back.
			ectx, cancel := context.WithTimeoutCause(enclose(sctx, c.claim.ID), c.limits.MaxRun, ErrMaxRun)
			defer cancel()
			ectx, end := context.WithCancelCause(ectx)
			defer end(nil)
			defer context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })()
			fault.Point("guard.effect.before")
			v, err := fn(ectx, tx.(Tx))
			fault.Point("guard.effect.after")
			own, ended, raw = err, nil, v
			if err == nil {
				ended = ctx.Err() // not committing is still possible, and what the caller asked for
				err = ended
			}
			if err != nil {
				return Result{}, err
			}
			ring, err := c.keys(ctx, false)
			if err != nil {
				return Result{}, err
			}
			return c.encode(ring, v), nil
		})
		switch {
		case err != nil && own != nil:
			return a, c.fail(ErrNotExecuted, false, "", own)
		case err != nil && ended != nil:
			return a, c.fail(ErrNotRun, false, "the caller ended before the commit; everything was rolled back", context.Cause(ctx))
		}
		return a, err
	}
	end, known := c.recall(ctx)
	if !known {
		end = c.do(ctx)
	}
	if end.err == nil && !end.replayed {
		end.raw = raw
	}
	fault.Point("guard.answer.before")
	return receiptOf[T](ctx, c, end)
}

// leadTx is lead for T11.
//
// Crash analysis: until the commit is durable the database rolls back and no
// row shows that anybody tried; after it the receipt is final.
func (c *call) leadTx(ctx, wait context.Context) ending {
	for reloaded := false; ; {
		if ctx.Err() != nil {
			return ending{err: c.fail(ErrNotRun, false, "the caller ended before the transaction started", context.Cause(ctx))}
		}
		claim := c.claim
		claim.Owner = newToken()
		fault.Point("guard.claim.before")
		sent, timed := c.replays.sent()
		a, err := c.transact(ctx, claim)
		if err == nil {
			err = a.Err
		}
		if err != nil {
			return c.txFailed(err)
		}
		switch a.Outcome {
		case Settled:
			c.remember(a, sent, timed)
			if !a.Mine {
				return c.replay(ctx, a.Record)
			}
			ev := c.event(EventSettled, a.Record)
			ev.Transition = a.Transition
			c.observe(ctx, ev)
			return ending{record: a.Record}
		case Held:
			if a, ok := c.watch(ctx, wait, a); !ok {
				return ending{record: a.Record, err: c.inProgress(ctx, a.Record, a.Record.LeaseLeft(a.Now))}
			}
		case KeyUnknown:
			if reloaded {
				return ending{err: c.fail(ErrKeyMissing, true, "the record names fingerprint "+a.Record.Fingerprint.String(), nil)}
			}
			reloaded = true
			ring, err := c.keys(ctx, true)
			if err != nil {
				return ending{err: c.fail(ErrKeyMissing, true, "reading the store's keys again failed", err)}
			}
			c.claim.Fingerprints = ring.sums(c.kind, c.meaning)
		default:
			return c.refusedClaim(ctx, a)
		}
	}
}

// txFailed tells an effect's rollback, a store that did nothing, and a commit
// that nobody could read back apart.
func (c *call) txFailed(err error) ending {
	if e, ok := err.(*Error); ok {
		return ending{err: e}
	}
	if cleanFailure(err) {
		return ending{err: c.fail(ErrNotRun, false, "the transaction was rolled back", err), shared: true}
	}
	e := c.fail(ErrUncertain, true, "the store did not say whether the transaction committed; the same call again reads it", err)
	return ending{err: e, shared: true}
}
