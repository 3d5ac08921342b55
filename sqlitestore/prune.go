package sqlitestore

import (
	"context"

	"github.com/onceguard/onceguard"
)

// SQLite takes a partial index only for a query that repeats its condition.
const openRows = ` state IN (1, 3) `

var selectClaimed = `SELECT ` + narrow + ` FROM onceguard_receipt WHERE` + openRows + `AND state = 1 ORDER BY lease_until`

// Sweep implements onceguard.Store. It looks for candidates without the write
// lock and judges each of them again under it.
func (s *Store) Sweep(ctx context.Context, limit int) ([]onceguard.Record, error) {
	const op = "sweep"
	if err := s.usable(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	lapsed, err := s.lapsed(ctx, limited(limit))
	if err != nil {
		return nil, cleanly(op, err)
	}
	var parked []onceguard.Record
	if len(lapsed) == 0 {
		return nil, nil
	}
	err = s.writing(ctx, op, func(t *txn) error {
		for _, id := range lapsed {
			before, err := t.record(id)
			if err != nil {
				return err
			}
			step := before.Sweep(t.now)
			if !step.Write {
				continue
			}
			if err := t.apply(before, step); err != nil {
				return err
			}
			parked = append(parked, step.Record)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return parked, nil
}

// lapsed reads the claims in flight, which the partial index lists, and stops
// at the first whose lease runs.
func (s *Store) lapsed(ctx context.Context, limit int) ([]onceguard.RequestID, error) {
	rows, err := s.read.QueryContext(ctx, selectClaimed)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	now := s.now()
	var ids []onceguard.RequestID
	for rows.Next() && len(ids) < limit {
		r, err := scanRecord(rows)
		if err != nil {
			return nil, err
		}
		if r.LeaseUntil.After(now) {
			break
		}
		if r.Sweep(now).Write {
			ids = append(ids, r.ID)
		}
	}
	return ids, rows.Err()
}

// Prune implements onceguard.Store.
func (s *Store) Prune(ctx context.Context, p onceguard.PruneRequest) (onceguard.Pruned, error) {
	const op = "prune"
	if err := s.usable(ctx); err != nil {
		return onceguard.Pruned{}, cleanly(op, err)
	}
	var where []string
	var args []any
	if p.Cursor != "" {
		at, err := parsePlace(op, p.Cursor)
		if err != nil {
			return onceguard.Pruned{}, err
		}
		condition, more := at.after()
		where, args = []string{condition}, more
	}
	limit := limited(p.Limit)
	list, err := s.records(ctx, "SELECT "+narrow+" FROM onceguard_receipt"+all(where)+newestFirst, append(args, limit+1)...)
	if err != nil {
		return onceguard.Pruned{}, cleanly(op, err)
	}
	done := onceguard.Pruned{Done: true}
	if len(list) > limit {
		list = list[:limit]
		done.Done, done.Next = false, placeOf(list[limit-1]).String()
	}
	done.Looked = len(list)
	var due []onceguard.RequestID
	now := s.now()
	for _, r := range list {
		if step := r.Prune(now); step.Write || step.Delete {
			due = append(due, r.ID)
			count(&done, step)
		}
	}
	if p.DryRun || len(due) == 0 {
		return done, nil
	}
	done.Tombstoned, done.Deleted = 0, 0
	err = s.writing(ctx, op, func(t *txn) error {
		for _, id := range due {
			if err := t.prune(id, &done); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return onceguard.Pruned{}, err
	}
	return done, nil
}

// prune judges a row again under the write lock and applies T15. The bodies of
// its evidence go with the result.
func (t *txn) prune(id onceguard.RequestID, done *onceguard.Pruned) error {
	before, err := t.record(id)
	if err != nil {
		return err
	}
	step := before.Prune(t.now)
	if !step.Write && !step.Delete {
		return nil
	}
	if err := t.apply(before, step); err != nil {
		return err
	}
	if step.Write {
		if _, err := t.exec(dropBodies, id[:]); err != nil {
			return err
		}
	}
	count(done, step)
	return nil
}

func count(done *onceguard.Pruned, step onceguard.Step) {
	if step.Delete {
		done.Deleted++
	} else {
		done.Tombstoned++
	}
}
