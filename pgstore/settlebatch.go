package pgstore

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mutant"
)

// settleMember is one outcome on its way through a batch.
type settleMember struct {
	member
	said       onceguard.Settlement
	owner      onceguard.OwnerHash
	record     onceguard.Record // what is written of it
	transition onceguard.Transition
}

// prepare computes what a success or a refusal writes: the rule, applied to the
// row that the update's condition asks for. Other outcomes depend on the row.
func (m *settleMember) prepare() (final bool) {
	m.owner = m.said.Owner.Hash()
	assumed := onceguard.Record{ID: m.said.ID, State: onceguard.Claimed, Attempt: m.said.Attempt, Owner: m.owner}
	step := assumed.Settle(m.said, time.Time{})
	m.record, m.transition = stored(step.Record), step.Transition
	return step.Outcome == onceguard.Settled && m.record.State.Final()
}

// flushSettles writes the outcomes of one batch (T7, and T8 where no attempt is
// unknown), in one transaction.
func (s *Store) flushSettles(ctx context.Context, batch []*settleMember) {
	sortMembers(batch, func(m *settleMember) *onceguard.RequestID { return &m.said.ID })
	err := s.flushOwned(ctx, "settle", func(ctx context.Context, b *pipeline) {
		for _, m := range batch {
			m.answer = onceguard.Answer{}
		}
		if len(batch) > few && !s.opt.Pooler {
			s.queueSettles(ctx, b, batch)
			return
		}
		for _, m := range batch {
			s.queueOne(ctx, b, m)
		}
	})
	if err != nil {
		for _, m := range batch {
			m.spoil(err, len(batch))
		}
	}
}

// flushOwned runs one batch of owners' words, with the connection that is kept
// for them if no other is free.
func (s *Store) flushOwned(ctx context.Context, op string, queue func(context.Context, *pipeline)) error {
	return s.with(ctx, op, outcome, func(ctx context.Context, c *conn) error {
		b := s.pipeline(ctx, c)
		queue(ctx, b)
		if err := failpoint(op, "before-commit"); err != nil {
			c.sent = true
			return err
		}
		if err := b.run(ctx, true); err != nil && !mutant.On("pg-commit-error-dropped") {
			return err
		}
		return failpoint(op, "after-commit")
	})
}

// queueOne writes one outcome with a statement of its own.
func (s *Store) queueOne(ctx context.Context, b *pipeline, m *settleMember) {
	p, r := &b.p, &m.record
	p.bytes(m.said.ID[:])
	p.int8(m.said.Attempt)
	p.bytes(m.owner[:])
	p.int2(int16(r.State))
	p.text(r.SettledBy)
	p.text(r.Reason)
	p.bytes(r.Result.Body)
	p.text(r.Result.Type)
	p.bytes(hash(r.Result.Digest))
	p.int2(int16(r.Result.Missing))
	b.queue(ctx, statement{"onceguard_settle", s.sql.settle}, m.settled)
}

// queueSettles writes a batch with one statement.
func (s *Store) queueSettles(ctx context.Context, b *pipeline, batch []*settleMember) {
	p, n := &b.p, len(batch)
	column := func(oid uint32, element func([]byte, *settleMember) []byte) {
		p.array(oid, n, func(to []byte, i int) []byte { return element(to, batch[i]) })
	}
	type m = *settleMember
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.said.ID[:]) })
	column(oidInt8, func(b []byte, m m) []byte { return elemInt8(b, m.said.Attempt) })
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.owner[:]) })
	column(oidInt2, func(b []byte, m m) []byte { return elemInt2(b, int16(m.record.State)) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.record.SettledBy) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.record.Reason) })
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, m.record.Result.Body) })
	column(oidText, func(b []byte, m m) []byte { return elemText(b, m.record.Result.Type) })
	column(oidBytea, func(b []byte, m m) []byte { return elemBytes(b, hash(m.record.Result.Digest)) })
	column(oidInt2, func(b []byte, m m) []byte { return elemInt2(b, int16(m.record.Result.Missing)) })
	b.queue(ctx, s.sql.settleMany, func(r *wireRow) error {
		got, err := r.record()
		if err != nil {
			return err
		}
		i, err := find(n, got.ID, func(i int) *onceguard.RequestID { return &batch[i].said.ID })
		if err != nil {
			return err
		}
		return batch[i].answered(got, r.time(), r.err)
	})
}

func (m *settleMember) settled(r *wireRow) error {
	got, err := r.record()
	if err != nil {
		return err
	}
	return m.answered(got, r.time(), r.err)
}

func (m *settleMember) answered(got onceguard.Record, now time.Time, err error) error {
	if err != nil {
		return err
	}
	got.Result.Body = m.record.Result.Body
	m.answer = onceguard.Answer{Outcome: onceguard.Settled, Transition: m.transition, Record: got, Mine: true, Now: now}
	return nil
}

func (m *settleMember) about() onceguard.RequestID { return m.said.ID }

func (m *settleMember) decide(r onceguard.Record, now time.Time) onceguard.Step {
	return r.Settle(m.said, now)
}
