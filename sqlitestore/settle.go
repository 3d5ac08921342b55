package sqlitestore

import (
	"context"
	"slices"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/fault"
)

// Renew implements onceguard.Store: all renewals of a call in one transaction.
func (s *Store) Renew(ctx context.Context, renewals []onceguard.Renewal) ([]onceguard.Answer, error) {
	const op = "renew"
	if err := fault.PointErr("store.renew.before"); err != nil {
		return nil, cleanly(op, err)
	}
	out, err := each(ctx, s, op, renewals, question[onceguard.Renewal]{
		id: func(n onceguard.Renewal) onceguard.RequestID { return n.ID },
		rule: func(t *txn, r onceguard.Record, n onceguard.Renewal) (onceguard.Step, error) {
			return r.Renew(n, t.now), nil
		},
	})
	if err != nil {
		return nil, err
	}
	if err := fault.PointErr("store.renew.after"); err != nil {
		return nil, unclear(op, err)
	}
	return out, nil
}

// Settle implements onceguard.Store: all settlements of a call in one
// transaction. On a full disk the outcome counts more than its body: the bodies
// are dropped first, and then the ballast is given back to make room.
func (s *Store) Settle(ctx context.Context, settlements []onceguard.Settlement) ([]onceguard.Answer, error) {
	// Once the ballast is given back, its space is for outcomes alone.
	if s.ballast.whole() || s.short() == nil {
		if out, err := s.settle(ctx, settlements); !isFull(err) {
			return out, err
		}
	}
	s.log.WarnContext(ctx, "the disk is full: storing receipts without their results", "store", s.path, "receipts", len(settlements))
	bare := slices.Clone(settlements)
	for i := range bare {
		if r := &bare[i].Result; len(r.Body) > 0 {
			r.Body, r.Missing = nil, onceguard.BodyDiskFull
		}
	}
	if out, err := s.settle(ctx, bare); !isFull(err) {
		return out, err
	}
	if gone := s.ballast.release(); gone != nil {
		s.log.ErrorContext(ctx, "the ballast file could not be given back", "store", s.path, "error", gone)
	}
	return s.settle(ctx, bare)
}

func (s *Store) settle(ctx context.Context, settlements []onceguard.Settlement) ([]onceguard.Answer, error) {
	return each(ctx, s, "settle", settlements, question[onceguard.Settlement]{
		id: func(n onceguard.Settlement) onceguard.RequestID { return n.ID },
		rule: func(t *txn, r onceguard.Record, n onceguard.Settlement) (onceguard.Step, error) {
			return r.Settle(n, t.now), nil
		},
	})
}

// Resolve implements onceguard.Store.
func (s *Store) Resolve(ctx context.Context, n onceguard.Resolution) (onceguard.Answer, error) {
	const op = "resolve"
	if err := n.Validate(); err != nil {
		return onceguard.Answer{}, refused(op, "%w", err)
	}
	return alone(ctx, s, op, n.ID, func(t *txn, r onceguard.Record) onceguard.Step { return r.Resolve(n, t.now) })
}

// Checkpoint implements onceguard.Store.
func (s *Store) Checkpoint(ctx context.Context, c onceguard.Checkpoint) (onceguard.Answer, error) {
	return alone(ctx, s, "checkpoint", c.ID, func(_ *txn, r onceguard.Record) onceguard.Step { return r.Checkpoint(c) })
}

// alone is each for one member, whose failure is then the call's.
func alone(ctx context.Context, s *Store, op string, id onceguard.RequestID, rule func(*txn, onceguard.Record) onceguard.Step) (onceguard.Answer, error) {
	out, err := each(ctx, s, op, []onceguard.RequestID{id}, question[onceguard.RequestID]{
		id: func(id onceguard.RequestID) onceguard.RequestID { return id },
		rule: func(t *txn, r onceguard.Record, _ onceguard.RequestID) (onceguard.Step, error) {
			return rule(t, r), nil
		},
	})
	if err != nil {
		return onceguard.Answer{}, err
	}
	if out[0].Err != nil {
		return onceguard.Answer{}, out[0].Err
	}
	return out[0], nil
}

// Import implements onceguard.Store. A record that is not final is refused.
func (s *Store) Import(ctx context.Context, records []onceguard.Record) ([]onceguard.Answer, error) {
	const op = "import"
	return each(ctx, s, op, records, question[onceguard.Record]{
		id: func(r onceguard.Record) onceguard.RequestID { return r.ID },
		rule: func(_ *txn, r, given onceguard.Record) (onceguard.Step, error) {
			if !given.State.Final() {
				return onceguard.Step{}, refused(op, "%s is %s: only succeeded and failed work can be imported", given.ID, given.State)
			}
			return r.Import(given), nil
		},
	})
}
