package sqlitestore

import (
	"context"
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

	args []any // reused by the hottest statements

	// Whether there is room for a receipt is asked once.
	roomAsked bool
	noRoom    error
}

// insideKey marks the context of a function that Transact runs.
type insideKey struct{ s *Store }

// enter takes the gate, waiting as long as the busy timeout allows.
func (s *Store) enter(ctx context.Context) (release func(), err error) {
	if err := s.admitted(ctx); err != nil {
		return nil, err
	}
	if release, free := s.enterNow(); free {
		return release, nil
	}
	release = func() { <-s.gate }
	err = s.look.while(func() error {
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
	})
	return release, err
}

// enterNow takes the gate if it is free.
func (s *Store) enterNow() (release func(), free bool) {
	select {
	case s.gate <- struct{}{}:
		return func() { <-s.gate }, true
	default:
		return nil, false
	}
}

// admitted is asked before every write.
func (s *Store) admitted(ctx context.Context) error {
	if ctx.Value(insideKey{s}) != nil {
		return refused("", "called inside a transaction of the same store, which holds the write lock: call it after Transact returned")
	}
	if s.closed.Load() {
		return errClosed
	}
	return ctx.Err()
}

// writing is transaction for a write that travels alone, because it is long.
func (s *Store) writing(ctx context.Context, op string, fn func(t *txn) error) error {
	release, err := s.enter(ctx)
	if err != nil {
		return cleanly(op, err)
	}
	defer release()
	return cleanly(op, s.transaction(ctx, nil, fn))
}

// transaction runs fn in one BEGIN IMMEDIATE transaction and returns when it is
// durable. Nothing is committed, and nothing synced, if fn wrote nothing. ctx
// bounds the wait for the lock and nothing after it. Every error is clean but
// that of the commit itself, which is a *StoreError and says so. The caller
// holds the gate's token. taken, if set, is called where the lock has to be
// waited for, and an error of it ends the matter.
func (s *Store) transaction(ctx context.Context, taken func() error, fn func(t *txn) error) error {
	if s.closed.Load() {
		return errClosed
	}
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	open := true
	defer func() { // also when fn panics
		if open && !c.rollback() {
			s.drop()
		}
	}()
	if err := c.begin(); isBusy(err) {
		err := s.look.while(func() error {
			if taken != nil {
				if err := taken(); err != nil {
					return err
				}
			}
			return c.await(ctx, s.busy)
		})
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	t, err := s.opened(c)
	if err != nil {
		return err
	}
	if err := fn(t); err != nil {
		return err
	}
	if !t.wrote {
		return nil
	}
	if err := c.commit(); err != nil {
		return commitFailed("", err)
	}
	open = false
	s.commits.Add(1)
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
	if err := t.readStore(); err != nil {
		return nil, err
	}
	t.now = s.now()
	return t, nil
}

// readStore reads the store's own row and judges it. The session remembers what
// it was: mostly it is enough to ask whether it is still the same.
func (t *txn) readStore() error {
	c, ok := t.runner.(*session)
	if ok && c.store.id != "" {
		same, err := c.any(sameStore, c.store.id, c.store.epoch, c.store.frozenWhy, c.store.minVersion, c.store.file)
		if err != nil {
			return err
		}
		if same {
			t.row = c.store
			return t.s.admits(t.row)
		}
	}
	if err := one(t, t.row.scan, selectStore); err != nil {
		return err
	}
	if ok {
		c.store = t.row
	}
	return t.s.admits(t.row)
}

// record reads a row; the zero Record where there is none.
func (t *txn) record(id onceguard.RequestID) (onceguard.Record, error) { return readRow(t, id) }

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
	case onceguard.T6, onceguard.T7, onceguard.T8, onceguard.T9, onceguard.T9b, onceguard.T10:
		n, err := t.swap(&before, 0, step)
		if err == nil && n != 1 {
			err = changedOther(n)
		}
		return err
	}
	return t.changed(updateRow, append([]any{int64(before.State), before.Attempt}, values(after)...)...)
}

// swap writes what an owner's word changes, if the row is still as it was
// before, and returns how many rows that were. What its statements do not
// compare cannot change while state, attempt and owner stay the same: the
// transition table has no such line. at is the row ID, 0 if it is not known.
func (t *txn) swap(before *onceguard.Record, at int64, step onceguard.Step) (n int64, err error) {
	after := &step.Record
	if step.Transition == onceguard.T6 {
		n, err = t.exec(renewRow, micros(after.LeaseUntil),
			before.ID[:], before.Attempt, before.Owner[:], micros(before.LeaseUntil))
		t.wrote = t.wrote || n > 0
		return n, err
	}
	query := settleRow
	t.args = append(t.args[:0],
		int64(after.State), flag(after.UnknownAttempt), maybe(after.LeaseUntil), micros(after.Since),
		after.SettledBy, after.Reason, after.Result.Type, after.Result.Digest[:], int64(after.Result.Missing), blob(after.Result.Body),
		before.ID[:], int64(before.State), before.Attempt, before.Owner[:],
		flag(before.UnknownAttempt), before.SettledBy, before.Reason)
	if at != 0 {
		query, t.args = settleAt, append(t.args, at)
	}
	n, err = t.exec(query, t.args...)
	t.wrote = t.wrote || n > 0
	return n, err
}

// changed runs a statement that must touch exactly one row.
func (t *txn) changed(query string, args ...any) error {
	n, err := t.exec(query, args...)
	if err != nil {
		return err
	}
	t.wrote = true
	if n != 1 {
		return changedOther(n)
	}
	return nil
}

func changedOther(n int64) error {
	return fmt.Errorf("a guarded statement changed %d rows where the row was read as present: this is a bug in the store", n)
}

func containsText(err error, text string) bool { return strings.Contains(err.Error(), text) }
