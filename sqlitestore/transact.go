package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/onceguard/onceguard"
)

// Transact implements onceguard.Transactor; fn receives a *sql.Tx. It holds the
// write lock of the whole file while fn runs, so fn must be short and must not
// call the store. A duplicate waits for the lock no longer than Options.Busy.
// An error or panic of fn passes through, and leaves no trace.
//
// The claimed row is written before fn runs. A function that commits the
// transaction by itself, which it must not, then leaves a claim that becomes
// uncertain, and not an effect that nobody remembers.
func (s *Store) Transact(ctx context.Context, c onceguard.Claim, fn func(ctx context.Context, tx any) (onceguard.Result, error)) (onceguard.Answer, error) {
	const op = "transact"
	if len(c.Fingerprints) == 0 {
		return onceguard.Answer{}, refused(op, "claim of %s has no fingerprint", c.ID)
	}
	if a, done, err := s.transactPeek(ctx, op, c); done || err != nil {
		return a, err
	}
	release, err := s.enter(ctx)
	if err != nil {
		return onceguard.Answer{}, cleanly(op, err)
	}
	defer release()

	// The transaction must not end with the caller's context once it commits,
	// but until then the caller may give up.
	life, end := context.WithCancel(lasting(ctx))
	defer end()
	keep := context.AfterFunc(ctx, end)
	tx, err := s.shared.BeginTx(life, nil)
	if err != nil {
		return onceguard.Answer{}, cleanly(op, err)
	}
	defer tx.Rollback() // also when fn panics; nothing after a commit
	t, err := s.opened(lent{tx})
	if err != nil {
		return onceguard.Answer{}, cleanly(op, err)
	}
	step, ran, err := t.transact(ctx, c, tx, fn)
	if err != nil {
		if ran {
			return onceguard.Answer{}, err
		}
		return onceguard.Answer{}, cleanly(op, err)
	}
	if !keep() {
		return onceguard.Answer{}, cleanly(op, context.Cause(ctx))
	}
	if !t.wrote {
		return step.Answer(t.now), nil
	}
	if err := beforeCommit("settle"); err != nil {
		return onceguard.Answer{}, cleanly(op, err)
	}
	err = tx.Commit()
	if err == nil {
		err = afterCommit("settle")
	}
	if err != nil {
		return s.readBack(ctx, op, c, step, t, err)
	}
	return step.Answer(t.now), nil
}

// transactPeek answers from a plain read what needs no lock.
func (s *Store) transactPeek(ctx context.Context, op string, c onceguard.Claim) (onceguard.Answer, bool, error) {
	if ctx.Value(insideKey{s}) != nil {
		return onceguard.Answer{}, false, refused(op, "called inside another transaction of this store: call it after that one returned")
	}
	if err := s.usable(ctx); err != nil {
		return onceguard.Answer{}, false, cleanly(op, err)
	}
	r, err := s.lookup(ctx, c.ID)
	if err != nil {
		return onceguard.Answer{}, false, cleanly(op, err)
	}
	now := s.now()
	step := r.Transact(c, now)
	if step.Outcome == onceguard.Granted || step.Write || len(step.Evidence) > 0 {
		return onceguard.Answer{}, false, nil
	}
	return step.Answer(now), true, nil
}

// transact decides under the lock and runs fn where the rule grants it. ran
// says that the error is fn's own.
func (t *txn) transact(ctx context.Context, c onceguard.Claim, tx *sql.Tx, fn func(context.Context, any) (onceguard.Result, error)) (step onceguard.Step, ran bool, err error) {
	before, err := t.record(c.ID)
	if err != nil {
		return step, false, err
	}
	step, err = t.granting(before.Transact(c, t.now), c)
	if err != nil {
		return step, false, err
	}
	if step.Outcome != onceguard.Granted || step.Transition != onceguard.NoTransition {
		return step, false, t.apply(before, step)
	}
	claimed := step
	claimed.Write = true // the placeholder, see Transact
	if err := t.apply(before, claimed); err != nil {
		return step, false, err
	}
	result, err := fn(context.WithValue(ctx, insideKey{t.s}, true), tx)
	if err != nil {
		return step, true, err
	}
	t.now = t.s.now()
	receipt := step.Record.Commit(before.State, result, t.now)
	if err := t.apply(step.Record, receipt); err != nil {
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
			return step, false, ctx.Err() // it ended with the caller's context
		}
		if errors.Is(err, sql.ErrTxDone) {
			err = unclear("transact", fmt.Errorf("the function ended the transaction by itself; if it committed, its rows are stored and the request stays claimed until it becomes uncertain: return from the function and let Transact commit: %w", err))
		}
		return step, false, err
	}
	return receipt, false, nil
}

// readBack asks what became of a commit whose answer is not clear. Finding
// one's own receipt is an answer. Not finding it is none: a log whose sync
// failed may be recovered later.
func (s *Store) readBack(ctx context.Context, op string, c onceguard.Claim, step onceguard.Step, t *txn, cause error) (onceguard.Answer, error) {
	if isBusy(cause) || isFull(cause) {
		return onceguard.Answer{}, cleanly(op, cause)
	}
	r, err := s.lookup(lasting(ctx), c.ID)
	if err == nil && r.State == step.Record.State && r.Owner.Is(c.Owner) {
		return step.Answer(t.now), nil
	}
	return onceguard.Answer{}, unclear(op, errors.Join(cause, err))
}
