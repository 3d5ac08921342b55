package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// Settle implements onceguard.Store: one conditional update per success or
// refusal of the present owner, all in one round trip; the rest under locks.
func (s *Store) Settle(ctx context.Context, list []onceguard.Settlement) ([]onceguard.Answer, error) {
	ids := make([]onceguard.RequestID, len(list))
	for i, n := range list {
		ids[i] = n.ID
	}
	return s.owned(ctx, "settle", ids, func(b *pgx.Batch, i int, a *onceguard.Answer) {
		s.queueSettle(b, list[i], a)
	}, func(r onceguard.Record, i int, now time.Time) onceguard.Step {
		return r.Settle(list[i], now)
	})
}

// Renew implements onceguard.Store: one conditional update per claim.
func (s *Store) Renew(ctx context.Context, list []onceguard.Renewal) ([]onceguard.Answer, error) {
	ids := make([]onceguard.RequestID, len(list))
	for i, n := range list {
		ids[i] = n.ID
	}
	return s.owned(ctx, "renew", ids, func(b *pgx.Batch, i int, a *onceguard.Answer) {
		s.queueRenew(b, list[i], a)
	}, func(r onceguard.Record, i int, now time.Time) onceguard.Step {
		return r.Renew(list[i], now)
	})
}

// owned runs an owner's questions: first as conditional updates, and what
// those did not decide by the rule, under the row's lock.
func (s *Store) owned(ctx context.Context, op string, ids []onceguard.RequestID,
	queue func(*pgx.Batch, int, *onceguard.Answer), decide func(onceguard.Record, int, time.Time) onceguard.Step,
) ([]onceguard.Answer, error) {
	order, err := s.sorted(ctx, op, ids)
	if err != nil {
		return nil, err
	}
	answers := make([]onceguard.Answer, len(ids))
	err = s.with(ctx, op, outcome, func(ctx context.Context, c *conn) error {
		clear(answers)
		b := &pgx.Batch{}
		for _, i := range order {
			queue(b, i, &answers[i])
		}
		if b.Len() == 0 {
			return nil
		}
		if s.opt.Pooler {
			explicit := &pgx.Batch{}
			s.begin(explicit)
			explicit.QueuedQueries = append(explicit.QueuedQueries, b.QueuedQueries...)
			commit(explicit)
			b = explicit
		}
		if err := failpoint(op, "before-commit"); err != nil {
			c.sent = true
			return err
		}
		if err := c.run(ctx, b, true); err != nil {
			return err
		}
		return failpoint(op, "after-commit")
	})
	if err != nil && !single(err) {
		return nil, err
	}
	for _, i := range order {
		if answers[i].Outcome != onceguard.NoOutcome {
			continue
		}
		answers[i], err = s.locked(ctx, op, outcome, ids[i], func(r onceguard.Record, at instant) (onceguard.Step, error) {
			return decide(r, i, at.now), nil
		})
		if err != nil {
			answers[i] = onceguard.Answer{Err: err}
		}
	}
	return answers, nil
}

// queueSettle asks for T7 or T8. What is written comes from the rule, applied
// to the row that the update's condition asks for.
func (s *Store) queueSettle(b *pgx.Batch, n onceguard.Settlement, a *onceguard.Answer) {
	owner := n.Owner.Hash()
	assumed := onceguard.Record{ID: n.ID, State: onceguard.Claimed, Attempt: n.Attempt, Owner: owner}
	step := assumed.Settle(n, time.Time{})
	r := stored(step.Record)
	if step.Outcome != onceguard.Settled || !r.State.Final() {
		return
	}
	b.Queue(s.sql.settle, n.ID[:], n.Attempt, owner[:], int16(r.State), r.SettledBy, r.Reason,
		r.Result.Body, r.Result.Type, hash(r.Result.Digest), int16(r.Result.Missing)).
		QueryRow(func(row pgx.Row) error {
			var now time.Time
			got, err := scan(row, &now)
			if err != nil {
				return unlessNone(err)
			}
			got.Result.Body = r.Result.Body
			*a = onceguard.Answer{Outcome: step.Outcome, Transition: step.Transition, Record: got, Mine: true, Now: now.UTC()}
			return nil
		})
}

// queueRenew asks for T6. The answer's time is the one that the lease counts
// from; where the update then waited for the row, the lease is renewed again.
func (s *Store) queueRenew(b *pgx.Batch, n onceguard.Renewal, a *onceguard.Answer) {
	owner := n.Owner.Hash()
	b.Queue(s.sql.renew, n.ID[:], n.Attempt, owner[:], micro(n.Lease)).QueryRow(func(row pgx.Row) error {
		var end time.Time
		r, err := scan(row, &end)
		if err != nil {
			return unlessNone(err)
		}
		now := r.LeaseUntil.Add(-n.Lease.Truncate(time.Microsecond))
		if end.Sub(now) > slow {
			return nil
		}
		if now.After(end) { // the lease was longer already
			now = end
		}
		*a = onceguard.Answer{Outcome: onceguard.Applied, Transition: onceguard.T6, Record: r, Mine: true, Now: now.UTC()}
		return nil
	})
}

func unlessNone(err error) error {
	if none(err) {
		return nil
	}
	return err
}
