package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// readBack finds out, on another connection to the primary, whether the
// transaction of an unanswered COMMIT is there. The session that ran it may
// still be at it: only one that waits for its lock knows.
//
// Its own commit writes: once that is answered cleanly, everything before it in
// the log is as durable as it is, the transaction that was found included.
func (s *Store) readBack(ctx context.Context, t *transaction) (committed bool, a onceguard.Answer, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Timeout)
	defer cancel()
	for try := 1; ; try++ {
		err = s.on(ctx, "read back", outcome, func(ctx context.Context, c *conn) error {
			committed, a, err = s.probe(ctx, c, t)
			return err
		})
		if err == nil || !wait(ctx, 5*try) || permanent(err) {
			return committed, a, err
		}
	}
}

func permanent(err error) bool {
	var se *onceguard.StoreError
	return errors.As(err, &se) && se.Permanent
}

func (s *Store) probe(ctx context.Context, c *conn, t *transaction) (bool, onceguard.Answer, error) {
	r, at, err := s.take(ctx, c, s.sql.lock, t.claim.ID)
	if err != nil {
		return false, onceguard.Answer{}, err
	}
	switch {
	case r.State == onceguard.Absent:
		// A lock finds no row that another session is inserting, an insert of
		// the same key waits for it. It is never committed.
		if err := s.write(ctx, c, r, onceguard.Step{Record: t.receipt, Write: true}, false); err != nil {
			return false, onceguard.Answer{}, err // errRaced: it is there now
		}
		c.abort(ctx)
		return false, onceguard.Answer{}, nil
	case r.State == onceguard.Succeeded && r.Attempt == t.receipt.Attempt && r.Owner.Is(t.claim.Owner):
		b := &pgx.Batch{}
		exec(b, `UPDATE onceguard_receipt SET state = state WHERE request_id = $1::bytea`, r.ID[:])
		commit(b)
		if err := c.run(ctx, b, true); err != nil {
			return false, onceguard.Answer{}, err
		}
		return true, onceguard.Answer{Outcome: onceguard.Settled, Transition: onceguard.T11, Record: r, Mine: true, Now: at.now}, nil
	}
	c.abort(ctx)
	return false, onceguard.Answer{}, nil
}
