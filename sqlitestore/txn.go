package sqlitestore

import (
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
