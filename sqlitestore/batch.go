package sqlitestore

import (
	"context"
	"errors"
	"slices"

	"github.com/onceguard/onceguard/internal/mutant"
)

// flush writes one batch: one transaction, one sync. The write lock is free
// between batches, for other processes and for Transact.
func (s *Store) flush(ctx context.Context, batch []member) {
	release, free := s.enterNow()
	if !free {
		if batch = s.readFirst(ctx, batch); len(batch) == 0 {
			return
		}
		var err error
		if release, err = s.enter(ctx); err != nil {
			failAll(batch, err)
			return
		}
	}
	defer release()
	if settles := only[*settling](batch); len(settles) > 0 && !s.bodiesFit() {
		s.bare(ctx, settles)
	}
	if err := s.commitAll(ctx, batch); !isFull(err) {
		failAll(batch, err)
		return
	}
	s.fullDisk(ctx, batch)
}

func failAll(batch []member, err error) {
	for _, m := range batch {
		m.base().fail(err)
	}
}

// only selects the members of one kind.
func only[M member](batch []member) (list []member) {
	for _, m := range batch {
		if _, ok := m.(M); ok {
			list = append(list, m)
		}
	}
	return list
}

// pending leaves out members that have their answer.
func pending(batch []member) []member {
	for i, m := range batch {
		if m.base().done {
			rest := slices.Clone(batch[:i])
			for _, m := range batch[i:] {
				if !m.base().done {
					rest = append(rest, m)
				}
			}
			return rest
		}
	}
	return batch
}

// readFirst answers claims from plain reads, where the lock has to be waited
// for: whoever asks for what is known must not wait for it. It returns the
// others. Each claim is read once.
func (s *Store) readFirst(ctx context.Context, batch []member) []member {
	for _, m := range batch {
		if c, ok := m.(*claiming); ok && !c.read {
			c.read = true
			if a, found, err := s.peekClaim(ctx, &c.claim); err == nil && found && s.file.check() == nil {
				c.answer, c.done = a, true
			}
		}
	}
	return pending(batch)
}

var errAgain = errors.New("members were taken out of the batch")

// commitAll decides every member in one transaction: claims first, and the rest
// in the order of arrival. Its error is the transaction's and holds for each.
func (s *Store) commitAll(ctx context.Context, batch []member) error {
	rest := pending(batch)
	taken := func() error {
		if rest = s.readFirst(ctx, rest); len(rest) == 0 {
			return errAgain
		}
		return nil
	}
	for {
		err := s.transaction(ctx, taken, func(t *txn) error {
			if err := t.decideAll(rest); err != nil {
				return err
			}
			if stay := passing(rest); len(stay) < len(rest) {
				rest = stay
				return errAgain
			}
			return nil
		})
		if errors.Is(err, errAgain) && len(rest) > 0 {
			continue
		}
		if errors.Is(err, errAgain) {
			return nil
		}
		if err == nil {
			s.committed(rest)
		}
		return err
	}
}

func (t *txn) decideAll(batch []member) error {
	for _, claims := range []bool{true, false} {
		for _, m := range batch {
			if _, is := m.(*claiming); is != claims {
				continue
			}
			before := t.wrote
			t.wrote = false
			err := m.decide(t)
			m.base().wrote = t.wrote
			t.wrote = t.wrote || before
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// passing takes each member that wrote past its failpoint, once, and returns
// those that may commit.
func passing(batch []member) []member {
	stay := batch
	for i, m := range batch {
		sl := m.base()
		if !sl.wrote || sl.passed {
			if len(stay) < len(batch) {
				stay = append(stay, m)
			}
			continue
		}
		sl.passed = true
		if err := beforeCommit(sl.op); err != nil {
			if len(stay) == len(batch) {
				stay = slices.Clone(batch[:i])
			}
			sl.fail(err)
			sl.done = true
		} else if len(stay) < len(batch) {
			stay = append(stay, m)
		}
	}
	return stay
}

// committed remembers what this process now holds, and takes each member past
// its failpoint.
func (s *Store) committed(batch []member) {
	for _, m := range batch {
		sl := m.base()
		if mutant.On("sqlite-batch-answers-first") {
			sl.answer = batch[0].base().answer
		}
		if !sl.wrote {
			continue
		}
		s.held.learn(sl)
		if err := afterCommit(sl.op); err != nil {
			sl.fail(unclear(sl.op, err))
			sl.done = true
		}
	}
}
