package pgstore

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// slow is how long an insert may have waited for another session's row before
// its lease, counted from before the wait, is renewed.
const slow = 100 * time.Millisecond

// few is up to how many members go as a statement each. Measured: a multi-row
// statement costs the server about 100 us more to set up, and 10 to 15 us less
// for each row.
const few = 8

// claimMember is one claim on its way through a batch.
type claimMember struct {
	member
	claim onceguard.Claim
	owner onceguard.OwnerHash
}

// latest is when the key, having no row, is too old; nil for never.
func (m *claimMember) latest() *time.Time {
	if m.claim.IssuedAt.IsZero() || m.claim.IdentityRetention == onceguard.Forever {
		return nil
	}
	return stamp(m.claim.IssuedAt.Add(m.claim.IdentityRetention))
}

// flushClaims inserts the claims of one batch (T1), in one transaction.
func (s *Store) flushClaims(ctx context.Context, batch []*claimMember) {
	sortMembers(batch, func(m *claimMember) *onceguard.RequestID { return &m.claim.ID })
	for _, m := range batch {
		m.owner = m.claim.Owner.Hash()
	}
	err := s.with(ctx, "claim", common, func(ctx context.Context, c *conn) error {
		for _, m := range batch {
			m.answer = onceguard.Answer{}
		}
		b := s.pipeline(ctx, c)
		if len(batch) > few && !s.opt.Pooler {
			s.queueClaims(ctx, b, batch)
		} else {
			for _, m := range batch {
				s.queueClaim(ctx, b, m)
			}
		}
		if err := failpoint("claim", "before-commit"); err != nil {
			c.sent = true
			return err
		}
		if err := b.run(ctx, true); err != nil {
			return err
		}
		return failpoint("claim", "after-commit")
	})
	if err != nil {
		for _, m := range batch {
			m.spoil(err, len(batch))
		}
	}
}

// queueClaim inserts one claim with a statement of its own.
func (s *Store) queueClaim(ctx context.Context, b *pipeline, m *claimMember) {
	c, p := &m.claim, &b.p
	print := &c.Fingerprints[0]
	p.bytes(c.ID[:])
	p.text(c.Scope)
	p.text(c.Action)
	p.text(c.Key)
	p.int2(int16(print.Version))
	p.text(print.KeyID)
	p.bytes(print.Sum[:])
	p.int2(int16(c.Policy.Kind))
	p.int8(int64(c.Policy.Horizon))
	p.int2(int16(c.Policy.Refusals))
	p.int4(int32(c.Policy.MaxAttempts))
	p.bytes(m.owner[:])
	p.text(text(c.Process))
	p.bool(c.RunAfterNeverWill)
	p.int8(micro(c.Lease))
	p.int8(int64(c.ResultRetention))
	p.int8(int64(c.IdentityRetention))
	p.bytes(c.Input)
	p.time(m.latest())
	p.int4(schemaVersion)
	p.bool(freezes(*c))
	p.text(b.c.system)
	b.queue(ctx, s.sql.insertFirst, func(r *wireRow) error { return m.inserted(r.time(), r.time(), r.err) })
}

// queueClaims inserts a batch with one statement. Its rows are computed one by
// one, as they are inserted, so that each lease counts from its own insert.
func (s *Store) queueClaims(ctx context.Context, b *pipeline, batch []*claimMember) {
	p, n := &b.p, len(batch)
	column := func(oid uint32, element func([]byte, *claimMember) []byte) {
		p.array(oid, n, func(to []byte, i int) []byte { return element(to, batch[i]) })
	}
	type m = *claimMember
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.claim.ID[:]) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.claim.Scope) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.claim.Action) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.claim.Key) })
	column(oidInt2, func(b []byte, m m) []byte { return elemInt2(b, int16(m.claim.Fingerprints[0].Version)) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.claim.Fingerprints[0].KeyID) })
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.claim.Fingerprints[0].Sum[:]) })
	column(oidInt2, func(b []byte, m m) []byte { return elemInt2(b, int16(m.claim.Policy.Kind)) })
	column(oidInt8, func(b []byte, m m) []byte { return elemInt8(b, int64(m.claim.Policy.Horizon)) })
	column(oidInt2, func(b []byte, m m) []byte { return elemInt2(b, int16(m.claim.Policy.Refusals)) })
	column(oidInt4, func(b []byte, m m) []byte { return elemInt4(b, int32(m.claim.Policy.MaxAttempts)) })
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.owner[:]) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, text(m.claim.Process)) })
	column(oidBool, func(b []byte, m m) []byte { return elemBool(b, m.claim.RunAfterNeverWill) })
	column(oidInt8, func(b []byte, m m) []byte { return elemInt8(b, micro(m.claim.Lease)) })
	column(oidInt8, func(b []byte, m m) []byte { return elemInt8(b, int64(m.claim.ResultRetention)) })
	column(oidInt8, func(b []byte, m m) []byte { return elemInt8(b, int64(m.claim.IdentityRetention)) })
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.claim.Input) })
	column(oidTimestamptz, func(b []byte, m m) []byte { return elemTime(b, m.latest()) })
	p.int4(schemaVersion)
	column(oidBool, func(b []byte, m m) []byte { return elemBool(b, freezes(m.claim)) })
	p.text(b.c.system)
	b.queue(ctx, s.sql.insertMany, func(r *wireRow) error {
		id, created, now := r.id(), r.time(), r.time()
		if r.err != nil {
			return r.err
		}
		i, err := find(n, id, func(i int) *onceguard.RequestID { return &batch[i].claim.ID })
		if err != nil {
			return err
		}
		return batch[i].inserted(created, now, nil)
	})
}

// inserted answers a claim whose row is new. One that waited for another
// session is left open: its lease counts from before the wait, and T2 follows.
func (m *claimMember) inserted(created, now time.Time, err error) error {
	if err != nil || now.Sub(created) > slow {
		return err
	}
	m.answer = onceguard.Answer{
		Outcome: onceguard.Granted, Transition: onceguard.T1,
		Record: stored(m.claim.FirstRecord(created)), Now: created,
	}
	return nil
}
