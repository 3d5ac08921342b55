package pgstore

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/onceguard/onceguard"
)

// readMember is one question of Get on its way through a batch.
type readMember struct {
	member
	id onceguard.RequestID
}

// gets reads rows, together with what others want to read. The members answer
// in the order of ids; the error is about all.
func (s *Store) gets(ctx context.Context, op string, ids []onceguard.RequestID) ([]readMember, error) {
	members := make([]readMember, len(ids))
	travel := make([]*readMember, len(ids))
	for i := range ids {
		members[i].id = ids[i]
		travel[i] = &members[i]
	}
	if err := s.groups.reads.Do(ctx, travel); err != nil {
		err := s.left(op, err)
		var failed *onceguard.StoreError
		if errors.As(err, &failed) {
			failed.Clean = true // it writes nothing
		}
		return nil, err
	}
	for i := range members {
		if members[i].err != nil {
			return nil, members[i].err
		}
	}
	return members, nil
}

// flushReads reads the rows of one batch. It takes no lock and waits for nobody.
func (s *Store) flushReads(ctx context.Context, batch []*readMember) {
	sortMembers(batch, func(m *readMember) *onceguard.RequestID { return &m.id })
	err := s.with(ctx, "get", common, func(ctx context.Context, c *conn) error {
		b := s.pipeline(ctx, c)
		var now time.Time
		b.queue(ctx, s.sql.now, func(r *wireRow) error {
			now = r.time()
			least := r.int4()
			if r.err == nil && least > schemaVersion {
				return tooNew(least)
			}
			return r.err
		})
		firsts := make([]*readMember, 0, len(batch)) // of each row that is asked for
		for i, m := range batch {
			if i == 0 || m.id != batch[i-1].id {
				firsts = append(firsts, m)
			}
		}
		b.p.array(oidBytea, len(firsts), func(to []byte, i int) []byte { return elemBytes(to, firsts[i].id[:]) })
		b.queue(ctx, s.sql.getMany, func(row *wireRow) error {
			r, err := row.record()
			if err != nil {
				return err
			}
			i, err := find(len(firsts), r.ID, func(i int) *onceguard.RequestID { return &firsts[i].id })
			if err != nil {
				return err
			}
			firsts[i].answer = onceguard.Answer{Outcome: onceguard.Found, Record: r}
			return nil
		})
		for _, m := range batch {
			m.answer = onceguard.Answer{Outcome: onceguard.Missing}
		}
		if err := b.run(ctx, false); err != nil {
			return err
		}
		if now.IsZero() {
			return errNoIdentity
		}
		for i, m := range batch {
			if i > 0 && m.id == batch[i-1].id {
				m.answer = batch[i-1].answer
				m.answer.Record.Result.Body = bytes.Clone(m.answer.Record.Result.Body) // each caller's own
				m.answer.Record.Input = bytes.Clone(m.answer.Record.Input)
			}
			m.answer.Now = now
		}
		return nil
	})
	if err != nil {
		for _, m := range batch {
			m.answer, m.err = onceguard.Answer{}, err
		}
	}
}
