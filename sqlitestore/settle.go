package sqlitestore

import (
	"context"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/fault"
)

// settling is a settlement on its way through a batch.
type settling struct {
	slot
	settlement onceguard.Settlement
}

func (m *settling) size() int { return overhead + len(m.settlement.Result.Body) }

// dropBody leaves out what does not fit on the disk, and says whether it did.
func (m *settling) dropBody() bool {
	r := &m.settlement.Result
	if len(r.Body) == 0 {
		return false
	}
	r.Body, r.Missing = nil, onceguard.BodyDiskFull
	return true
}

// Settle implements onceguard.Store. On a full disk the outcome counts more
// than its body: bodies that do not fit are dropped first, and then the ballast
// is given back to make room.
func (s *Store) Settle(ctx context.Context, settlements []onceguard.Settlement) ([]onceguard.Answer, error) {
	const op = "settle"
	return each(ctx, s, op, settlements, question[onceguard.Settlement]{
		id: func(n *onceguard.Settlement) onceguard.RequestID { return n.ID },
		member: func(n *onceguard.Settlement, _ bool) member {
			return &settling{slot{op: op, id: n.ID}, *n}
		},
	})
}

func (m *settling) decide(t *txn) error {
	rule := func(t *txn, r onceguard.Record) (onceguard.Step, error) { return r.Settle(m.settlement, t.now), nil }
	return m.own(t, rule)
}

// renewing is a renewal on its way through a batch.
type renewing struct {
	slot
	renewal onceguard.Renewal
}

func (m *renewing) size() int { return overhead }

func (m *renewing) decide(t *txn) error {
	rule := func(t *txn, r onceguard.Record) (onceguard.Step, error) { return r.Renew(m.renewal, t.now), nil }
	return m.own(t, rule)
}

// Renew implements onceguard.Store.
func (s *Store) Renew(ctx context.Context, renewals []onceguard.Renewal) ([]onceguard.Answer, error) {
	const op = "renew"
	if err := fault.PointErr("store.renew.before"); err != nil {
		return nil, cleanly(op, err)
	}
	out, err := each(ctx, s, op, renewals, question[onceguard.Renewal]{
		id: func(n *onceguard.Renewal) onceguard.RequestID { return n.ID },
		member: func(n *onceguard.Renewal, _ bool) member {
			return &renewing{slot{op: op, id: n.ID}, *n}
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

// Resolve implements onceguard.Store.
func (s *Store) Resolve(ctx context.Context, n onceguard.Resolution) (onceguard.Answer, error) {
	const op = "resolve"
	if err := n.Validate(); err != nil {
		return onceguard.Answer{}, refused(op, "%w", err)
	}
	return alone(ctx, s, &other{
		slot: slot{op: op, id: n.ID}, weight: len(n.Result.Body),
		rule: func(t *txn, r onceguard.Record) (onceguard.Step, error) { return r.Resolve(n, t.now), nil },
	})
}

// Checkpoint implements onceguard.Store.
func (s *Store) Checkpoint(ctx context.Context, c onceguard.Checkpoint) (onceguard.Answer, error) {
	return alone(ctx, s, &other{
		slot: slot{op: "checkpoint", id: c.ID}, weight: len(c.Body),
		rule: func(_ *txn, r onceguard.Record) (onceguard.Step, error) { return r.Checkpoint(c), nil },
	})
}

// AppendEvidence implements onceguard.Store.
func (s *Store) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	_, err := alone(ctx, s, &piece{slot: slot{op: "append evidence", id: e.ID}, evidence: e})
	return err
}

// alone sends one member, whose failure is then the call's.
func alone(ctx context.Context, s *Store, m member) (onceguard.Answer, error) {
	if err := s.together(ctx, m.base().op, []member{m}); err != nil {
		return onceguard.Answer{}, err
	}
	a := m.base().result()
	if a.Err != nil {
		return onceguard.Answer{}, a.Err
	}
	return a, nil
}

// Import implements onceguard.Store. A record that is not final is refused.
func (s *Store) Import(ctx context.Context, records []onceguard.Record) ([]onceguard.Answer, error) {
	const op = "import"
	return each(ctx, s, op, records, question[onceguard.Record]{
		id: func(r *onceguard.Record) onceguard.RequestID { return r.ID },
		member: func(r *onceguard.Record, _ bool) member {
			given := *r
			return &other{
				slot: slot{op: op, id: given.ID}, weight: len(given.Result.Body) + len(given.Input),
				rule: func(_ *txn, r onceguard.Record) (onceguard.Step, error) {
					if !given.State.Final() {
						return onceguard.Step{}, refused(op, "%s is %s: only succeeded and failed work can be imported", given.ID, given.State)
					}
					return r.Import(given), nil
				},
			}
		},
	})
}
