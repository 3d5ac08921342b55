package sqlitestore

import (
	"context"
	"errors"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/groupcommit"
)

// member is one request of a call on its way through a batch.
type member interface {
	base() *slot
	// decide leaves the answer, or this member's own failure, in the slot. An
	// error means that the transaction is lost for all.
	decide(t *txn) error
	// size is the weight in bytes of what it brings along.
	size() int
}

// slot is what every member has.
type slot struct {
	op     string
	id     onceguard.RequestID
	answer onceguard.Answer
	lost   *onceguard.StoreError // why its transaction failed

	row    int64 // where an insert put it; 0 if it is not known
	done   bool  // the answer stands, whatever becomes of the transaction
	wrote  bool  // in the transaction under way
	passed bool  // its failpoint before the commit was reached
}

func (s *slot) base() *slot { return s }

// overhead is about what a row weighs without input and result.
const overhead = 512

func (s *Store) grouped() *groupcommit.Group[onceguard.RequestID, member] {
	return groupcommit.New(groupcommit.Options[onceguard.RequestID, member]{
		Key:   func(m member) onceguard.RequestID { return m.base().id },
		Size:  member.size,
		Flush: s.flush,
		Stall: -1, // there is one writer: nobody could pass another
	})
}

// Stats shows how calls travelled together: batches, their members, and what
// waits at the moment.
func (s *Store) Stats() groupcommit.Stats { return s.group.Stats() }

// together sends the members of one call through the group. Their answers are
// in their slots; an error is the call's own, of which nothing else is known.
//
// A caller that leaves while its members are written learns that they may have
// been. One whose members still waited knows that they never will be.
func (s *Store) together(ctx context.Context, op string, list []member) error {
	if err := s.admitted(ctx); err != nil {
		return cleanly(op, err)
	}
	err := s.group.Do(ctx, list)
	if err != nil {
		var left *groupcommit.LeftError
		switch {
		case errors.Is(err, groupcommit.ErrClosed):
			return cleanly(op, errClosed)
		case errors.As(err, &left) && !left.Started:
			return cleanly(op, err)
		}
		return unclear(op, err)
	}
	return lostTogether(list)
}

// lostTogether is the error of a call of which every member was lost with its
// transaction; one that may have been written speaks for all. Where some were
// not lost, each speaks for itself.
func lostTogether(list []member) error {
	var worst *onceguard.StoreError
	for _, m := range list {
		lost := m.base().lost
		if lost == nil {
			return nil
		}
		if worst == nil || (worst.Clean && !lost.Clean) {
			worst = lost
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// result is the slot's answer for its caller.
func (s *slot) result() onceguard.Answer {
	if s.lost != nil {
		return onceguard.Answer{Err: s.lost}
	}
	return s.answer
}

// fail notes why the member's transaction was lost; nil takes it back.
func (s *slot) fail(err error) {
	if s.done {
		return
	}
	s.lost = nil
	if err == nil {
		return
	}
	if !errors.As(cleanly(s.op, err), &s.lost) {
		s.lost = &onceguard.StoreError{Op: s.op, Err: err}
	}
}

// reject is a failure of this member alone.
func (s *slot) reject(err error) { s.answer = onceguard.Answer{Err: cleanly(s.op, err)} }

// other is a member that is read, judged and written in the general way.
type other struct {
	slot
	weight int
	// rule decides under the write lock. Its error belongs to the member.
	rule func(*txn, onceguard.Record) (onceguard.Step, error)
}

func (m *other) size() int { return overhead + m.weight }

func (m *other) decide(t *txn) error { return m.judge(t, m.rule) }

// judge reads the row, lets the rule decide and writes what it says.
func (s *slot) judge(t *txn, rule func(*txn, onceguard.Record) (onceguard.Step, error)) error {
	before, err := t.record(s.id)
	if err != nil {
		return err
	}
	step, err := rule(t, before)
	if err != nil {
		s.reject(err)
		return nil
	}
	if err := t.apply(before, step); isMember(err) {
		s.reject(err)
	} else if err != nil {
		return err
	} else {
		s.answer = step.Answer(t.now)
	}
	return nil
}

// piece is evidence on its way. Its request need not have a row.
type piece struct {
	slot
	evidence onceguard.Evidence
}

func (m *piece) size() int { return overhead + len(m.evidence.Body) }

func (m *piece) decide(t *txn) error {
	m.answer = onceguard.Answer{Outcome: onceguard.Applied, Now: t.now}
	err := t.note(m.evidence, t.now)
	if isMember(err) {
		m.reject(err)
		return nil
	}
	return err
}
