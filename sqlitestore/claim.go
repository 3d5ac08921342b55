package sqlitestore

import (
	"context"
	"database/sql"
	"errors"

	"github.com/onceguard/onceguard"
)

// Claim implements onceguard.Store: all claims of a call in one transaction.
//
// It reads first. What the rule answers from the row without writing (a replay,
// a lease that runs, a mismatch) takes no write lock: a read sees everything
// that was committed before it began, which is all that such an answer claims.
func (s *Store) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	const op = "claim"
	for _, c := range claims {
		if len(c.Fingerprints) == 0 {
			return nil, refused(op, "claim of %s has no fingerprint", c.ID)
		}
	}
	return each(ctx, s, op, claims, question[onceguard.Claim]{
		id:   func(c onceguard.Claim) onceguard.RequestID { return c.ID },
		peek: onceguard.Record.Claim,
		rule: func(t *txn, r onceguard.Record, c onceguard.Claim) (onceguard.Step, error) {
			return t.granting(r.Claim(c, t.now), c)
		},
	})
}

// granting is the last word on a grant: a frozen store gives none to those who
// must not start twice, and a full disk gives none at all, since the receipt
// might not fit.
func (t *txn) granting(step onceguard.Step, c onceguard.Claim) (onceguard.Step, error) {
	if t.row.frozenWhy != "" {
		step = step.Freeze(c)
	}
	if step.Outcome != onceguard.Granted {
		return step, nil
	}
	return step, t.s.room()
}

// Get implements onceguard.Store.
func (s *Store) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	const op = "get"
	if err := s.usable(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	if err := distinct(op, ids, func(id onceguard.RequestID) onceguard.RequestID { return id }); err != nil {
		return nil, err
	}
	out := make([]onceguard.Answer, len(ids))
	for i, id := range ids {
		r, err := s.lookup(ctx, id)
		if err != nil {
			out[i].Err = cleanly(op, err)
			continue
		}
		out[i] = onceguard.Answer{Outcome: onceguard.Found, Record: r, Now: s.now()}
		if r.State == onceguard.Absent {
			out[i].Outcome, out[i].Record = onceguard.Missing, onceguard.Record{}
		}
	}
	return out, nil
}

// lookup is a plain read of one row.
func (s *Store) lookup(ctx context.Context, id onceguard.RequestID) (onceguard.Record, error) {
	r, err := scanRecord(s.lookupRow.QueryRowContext(ctx, id[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return onceguard.Record{}, nil
	}
	return r, err
}
