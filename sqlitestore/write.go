package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// txn is one write transaction. It may carry many members: whatever one of
// them does is undone without harm to the others.
type txn struct {
	runner
	s     *Store
	row   storeRow
	now   time.Time // read once, with the write lock held
	wrote bool
}

// insideKey marks the context of a function that Transact runs.
type insideKey struct{ s *Store }

// enter takes the gate, waiting as long as the busy timeout allows.
func (s *Store) enter(ctx context.Context) error {
	if ctx.Value(insideKey{s}) != nil {
		return refused("", "called inside a transaction of the same store, which holds the write lock: call it after Transact returned")
	}
	if s.closed.Load() {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.gate <- struct{}{}:
		return nil
	default:
	}
	patience := time.NewTimer(s.busy)
	defer patience.Stop()
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-patience.C:
		return fmt.Errorf("the store stayed busy for %s: another write of this process does not end", s.busy)
	}
}

// writing runs fn in one BEGIN IMMEDIATE transaction and returns when it is
// durable. Nothing is committed, and nothing synced, if fn wrote nothing. ctx
// bounds the wait for the lock and nothing after it. Every error is a
// *StoreError; all but those of the commit itself are clean.
func (s *Store) writing(ctx context.Context, op string, fn func(t *txn) error) (err error) {
	if err := s.enter(ctx); err != nil {
		return cleanly(op, err)
	}
	defer func() { <-s.gate }()
	if s.closed.Load() {
		return cleanly(op, errClosed)
	}
	c, err := s.session(ctx)
	if err != nil {
		return cleanly(op, err)
	}
	open := true
	defer func() { // also when fn panics
		if open && !c.rollback() {
			s.drop()
		}
	}()
	if err := c.begin(ctx); err != nil {
		return cleanly(op, err)
	}
	t, err := s.opened(c)
	if err != nil {
		return cleanly(op, err)
	}
	if err := fn(t); err != nil {
		return cleanly(op, err)
	}
	if !t.wrote {
		return nil
	}
	if err := beforeCommit(op); err != nil {
		return cleanly(op, err)
	}
	if err := c.commit(); err != nil {
		return commitFailed(op, err)
	}
	open = false
	if err := afterCommit(op); err != nil {
		return unclear(op, err)
	}
	return nil
}

// commitFailed judges an error of COMMIT. Busy and full come before the
// commit's frame is valid; after anything else (a failed sync) the frames may
// lie in the log and be found by the next recovery.
func commitFailed(op string, err error) error {
	if isBusy(err) || isFull(err) {
		return cleanly(op, err)
	}
	return unclear(op, err)
}

// opened looks around inside a transaction that has just begun: the file and
// the store are still the ones we know, and this is the time.
func (s *Store) opened(r runner) (*txn, error) {
	t := &txn{runner: r, s: s}
	if err := s.file.check(); err != nil {
		return nil, err
	}
	if err := one(r, t.row.scan, selectStore); err != nil {
		return nil, err
	}
	if err := s.admits(t.row); err != nil {
		return nil, err
	}
	t.now = s.now()
	return t, nil
}

// record reads a row; the zero Record where there is none.
func (t *txn) record(id onceguard.RequestID) (r onceguard.Record, err error) {
	err = one(t, func(row scanner) (err error) { r, err = scanRecord(row); return err }, selectRow, id[:])
	if errors.Is(err, sql.ErrNoRows) {
		return onceguard.Record{}, nil
	}
	return r, err
}

// apply writes what a rule decided about the row before.
func (t *txn) apply(before onceguard.Record, step onceguard.Step) error {
	if !step.Write && !step.Delete && len(step.Evidence) == 0 {
		return nil
	}
	if len(step.Evidence) == 0 && !step.Delete {
		return t.put(before, step)
	}
	// More than one statement: a member that fails half-way takes its other
	// half with it, and nothing else.
	if _, err := t.exec("SAVEPOINT member"); err != nil {
		return err
	}
	err := t.put(before, step)
	for _, e := range step.Evidence {
		if err == nil {
			err = t.note(e, t.now)
		}
	}
	if err == nil {
		_, err = t.exec("RELEASE member")
		return err
	}
	if isMember(err) {
		if _, undo := t.exec("ROLLBACK TO member"); undo != nil {
			return undo
		}
		if _, undo := t.exec("RELEASE member"); undo != nil {
			return undo
		}
	}
	return err
}

func (t *txn) put(before onceguard.Record, step onceguard.Step) error {
	after := step.Record
	switch {
	case step.Delete:
		if _, err := t.exec(deleteEvidence, before.ID[:]); err != nil {
			return err
		}
		return t.changed(deleteRow, before.ID[:])
	case !step.Write:
		return nil
	case before.State == onceguard.Absent:
		return t.changed(insertRow, values(after)...)
	}
	switch step.Transition {
	case onceguard.T6:
		return t.changed(renewRow, micros(after.LeaseUntil), after.ID[:], before.Attempt, before.Owner[:])
	case onceguard.T7, onceguard.T8, onceguard.T9, onceguard.T9b, onceguard.T10:
		return t.changed(settleRow, after.ID[:], int64(before.State), before.Attempt,
			int64(after.State), flag(after.UnknownAttempt), maybe(after.LeaseUntil), micros(after.Since),
			after.SettledBy, after.Reason, after.Result.Type, after.Result.Digest[:], int64(after.Result.Missing), blob(after.Result.Body))
	}
	return t.changed(updateRow, append([]any{int64(before.State), before.Attempt}, values(after)...)...)
}

// changed runs a statement that must touch exactly one row.
func (t *txn) changed(query string, args ...any) error {
	result, err := t.exec(query, args...)
	if err != nil {
		return err
	}
	t.wrote = true
	n, err := result.RowsAffected()
	if err == nil && n != 1 {
		err = fmt.Errorf("a guarded statement changed %d rows where the row was read as present: this is a bug in the store", n)
	}
	return err
}

func containsText(err error, text string) bool { return strings.Contains(err.Error(), text) }
