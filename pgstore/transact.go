package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// insideKey marks the context of a running transaction function.
type insideKey struct{ s *Store }

// outside refuses a call that would wait for the transaction it is made in.
func (s *Store) outside(ctx context.Context, op string, id onceguard.RequestID) error {
	if held, ok := ctx.Value(insideKey{s}).(onceguard.RequestID); ok && held == id {
		return s.refuse(op, "called inside the transaction that holds the same request: use it after Transact returned")
	}
	return nil
}

// effectError carries what the caller's function returned through the layers.
type effectError struct{ err error }

func (e *effectError) Error() string { return e.err.Error() }
func (e *effectError) Unwrap() error { return e.err }

// errEnded is for a function that committed or rolled back by itself.
var errEnded = errors.New("the function ended the store's transaction itself; it must leave COMMIT and ROLLBACK to the store. The request may be recorded as claimed")

// TxType implements onceguard.Transactor.
func (s *Store) TxType() string { return "pgx.Tx" }

// Transact implements onceguard.Transactor; fn receives a pgx.Tx, READ
// COMMITTED, whose Commit and Rollback are refused. An error of fn passes
// through and a panic goes on; both roll back everything.
//
// fn is called again, with a new transaction, when the server undid the one
// before (40001, 40P01), or when a commit without an answer turns out not to
// have happened. So fn must touch nothing but the transaction. A duplicate waits
// for the row up to Options.LockTimeout and is answered Held.
func (s *Store) Transact(ctx context.Context, c onceguard.Claim, fn func(ctx context.Context, tx any) (onceguard.Result, error)) (onceguard.Answer, error) {
	if len(c.Fingerprints) == 0 {
		return onceguard.Answer{}, s.refuse("transact", "claim of %s has no fingerprint", c.ID)
	}
	if ctx.Value(insideKey{s}) != nil {
		return onceguard.Answer{}, s.refuse("transact", "called inside another transaction of this store: call it after that one returned")
	}
	for try := 1; ; try++ {
		t := &transaction{s: s, claim: c, fn: fn}
		err := s.on(ctx, "transact", common, t.run)
		var effect *effectError
		var se *onceguard.StoreError
		switch {
		case err == nil && t.answer.Outcome == onceguard.Frozen:
			if on, err := s.newEpoch(ctx, t.at); err != nil {
				return onceguard.Answer{}, err
			} else if on && try < tries {
				continue
			}
			return t.answer, nil
		case err == nil:
			return t.answer, nil
		case errors.As(err, &effect):
			return onceguard.Answer{}, effect.err
		case code(err) == codeLockTimeout:
			return s.heldClaim(ctx, c)
		case !t.committing || !errors.As(err, &se) || se.Clean:
			return onceguard.Answer{}, err
		}
		committed, a, rerr := s.readBack(ctx, t)
		switch {
		case rerr != nil:
			return onceguard.Answer{}, &onceguard.StoreError{Op: "transact", Err: fmt.Errorf("the answer to COMMIT was lost (%w) and could not be read back: %w", err, rerr)}
		case committed:
			return a, nil
		case try == tries:
			se.Clean = true
			return onceguard.Answer{}, se
		}
	}
}

// transaction is one Transact call.
type transaction struct {
	s     *Store
	claim onceguard.Claim
	fn    func(ctx context.Context, tx any) (onceguard.Result, error)

	at         instant
	before     onceguard.Record
	receipt    onceguard.Record
	answer     onceguard.Answer
	committing bool     // COMMIT may have reached the server
	session    settings // as they were before the caller's function
}

// run is one try on one connection.
func (t *transaction) run(ctx context.Context, c *conn) error {
	t.committing, t.answer = false, onceguard.Answer{}
	tx, err := t.begin(ctx, c)
	if err != nil {
		return err
	}
	step := t.before.Transact(t.claim, t.at.now)
	if t.at.changed() {
		step = step.Freeze(t.claim)
	}
	step.Record = stored(step.Record)
	if step.Outcome != onceguard.Granted || step.Transition != onceguard.NoTransition {
		t.answer = step.Answer(t.at.now)
		if !step.Write && len(step.Evidence) == 0 {
			c.abort(ctx)
			return nil
		}
		return t.s.write(ctx, c, t.before, step, true)
	}
	step.Write = true
	if err := t.bounded(ctx, func(ctx context.Context) error { return t.s.write(ctx, c, t.before, step, false) }); err != nil {
		return err
	}
	result, err := t.fn(context.WithValue(ctx, insideKey{t.s}, t.claim.ID), &guardedTx{Tx: tx})
	if err != nil {
		return &effectError{err}
	}
	if c.Conn.Conn().PgConn().TxStatus() == 'I' {
		c.sent = true
		return errEnded
	}
	if err := t.settle(ctx, c, step.Record, result); err != nil {
		return err
	}
	if err := failpoint("settle", "before-commit"); err != nil {
		return err
	}
	return t.commit(ctx, c, tx)
}

// bounded limits one step of the store's own; the caller's function has none.
func (t *transaction) bounded(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, t.s.opt.Timeout)
	defer cancel()
	return fn(ctx)
}

// begin starts the transaction, locks the row and remembers what the caller's
// function may change and the store needs again.
func (t *transaction) begin(ctx context.Context, c *conn) (tx pgx.Tx, err error) {
	if !t.s.opt.Pooler {
		// The function may change search_path; a statement that is known already
		// needs no parsing before the path is put back.
		if _, err := c.Conn.Conn().Prepare(ctx, t.s.sql.settle, t.s.sql.settle); err != nil {
			return nil, err
		}
	}
	b := &pgx.Batch{}
	b.BeginTx(pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	t.s.queueSettings(b, t.s.opt.TransactIdle)
	// The caller's statements are planned as everywhere else.
	exec(b, `SELECT set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true),
		set_config('onceguard.request', $1::text, true)`, t.claim.ID.String())
	t.session.queue(b)
	queueLock(b, t.s.sql.lock, t.claim.ID, &t.before)
	t.s.queueClock(b, c.system, &t.at)
	err = t.bounded(ctx, func(ctx context.Context) error {
		br := c.SendBatch(ctx, b)
		tx = br.Tx()
		return br.Close()
	})
	return tx, err
}

// settle turns the placeholder into the receipt. The mark is a setting of the
// transaction: if it is gone, the function ended ours and began another.
func (t *transaction) settle(ctx context.Context, c *conn, placeholder onceguard.Record, result onceguard.Result) error {
	var mark string
	var session settings
	b := &pgx.Batch{}
	session.queue(b)
	b.Queue(`SELECT coalesce(current_setting('onceguard.request', true), ''), set_config('role', $1::text, true),
		set_config('search_path', $2::text, true)`, t.session.role, t.session.path).QueryRow(func(row pgx.Row) error {
		return row.Scan(&mark, nil, nil)
	})
	t.s.queueSettings(b, t.s.opt.TransactIdle)
	var a onceguard.Answer
	t.s.queueSettle(b, onceguard.Settlement{
		ID: t.claim.ID, Attempt: placeholder.Attempt, Owner: t.claim.Owner,
		Verb: onceguard.SettleSucceeded, Result: result,
	}, &a)
	err := t.bounded(ctx, func(ctx context.Context) error { return c.run(ctx, b, false) })
	switch {
	case err != nil:
		return err
	case mark != t.claim.ID.String():
		c.sent = true
		return errEnded
	case a.Outcome == onceguard.NoOutcome:
		return fmt.Errorf("request %s: the claim of this transaction is gone", t.claim.ID)
	}
	c.spoilt = session != t.session
	step := placeholder.Commit(t.before.State, a.Record.Result, a.Record.Since)
	t.receipt, t.answer = step.Record, step.Answer(a.Now)
	return nil
}

func (t *transaction) commit(ctx context.Context, c *conn, tx pgx.Tx) error {
	return t.bounded(ctx, func(ctx context.Context) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c.warning, c.sent, t.committing = "", true, true
		if err := tx.Commit(ctx); err != nil {
			if errors.Is(err, pgx.ErrTxCommitRollback) {
				return errUndone
			}
			return err
		}
		if c.warning != "" {
			return fmt.Errorf("%w: %s", errWarned, c.warning)
		}
		return failpoint("settle", "after-commit")
	})
}
