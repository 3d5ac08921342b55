package pgstore

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// renewMember is one renewal on its way through a batch.
type renewMember struct {
	member
	said  onceguard.Renewal
	owner onceguard.OwnerHash
}

// flushRenewals extends the leases of one batch (T6), in one transaction. They
// are too rare to be worth a multi-row statement.
func (s *Store) flushRenewals(ctx context.Context, batch []*renewMember) {
	sortMembers(batch, func(m *renewMember) *onceguard.RequestID { return &m.said.ID })
	err := s.flushOwned(ctx, "renew", func(ctx context.Context, b *pipeline) {
		for _, m := range batch {
			m.answer = onceguard.Answer{}
			m.owner = m.said.Owner.Hash()
			b.p.bytes(m.said.ID[:])
			b.p.int8(m.said.Attempt)
			b.p.bytes(m.owner[:])
			b.p.int8(micro(m.said.Lease))
			b.queue(ctx, s.sql.renew, m.renewed)
		}
	})
	if err != nil {
		for _, m := range batch {
			m.spoil(err, len(batch))
		}
	}
}

// renewed answers T6. The answer's time is the one that the lease counts from;
// where the update then waited for the row, the lease is renewed again.
func (m *renewMember) renewed(row *wireRow) error {
	r, err := row.record()
	if err != nil {
		return err
	}
	end := row.time()
	if row.err != nil {
		return row.err
	}
	now := r.LeaseUntil.Add(-m.said.Lease.Truncate(time.Microsecond))
	if end.Sub(now) > slow {
		return nil
	}
	if now.After(end) { // the lease was longer already
		now = end
	}
	m.answer = onceguard.Answer{Outcome: onceguard.Applied, Transition: onceguard.T6, Record: r, Mine: true, Now: now.UTC()}
	return nil
}

func (m *renewMember) about() onceguard.RequestID { return m.said.ID }

func (m *renewMember) decide(r onceguard.Record, now time.Time) onceguard.Step {
	return r.Renew(m.said, now)
}
