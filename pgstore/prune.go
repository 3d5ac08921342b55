package pgstore

import (
	"context"

	"github.com/onceguard/onceguard"
)

// lapsed selects claims that are over and that no claim may take over. It only
// narrows the search: Record.Sweep decides, under the row's lock.
const lapsed = `state = 1 AND lease_until <= clock_timestamp() AND (policy IN (0, 3)
	OR attempt >= CASE max_attempts WHEN 0 THEN ?::integer ELSE max_attempts END
	OR (policy = 1 AND keyed_at + horizon_ns / 1000 * interval '1 microsecond' <= clock_timestamp() + interval '1 second'))`

// Sweep implements onceguard.Store. Rows that another session has locked are
// left to the next sweep.
func (s *Store) Sweep(ctx context.Context, limit int) ([]onceguard.Record, error) {
	var q query
	q.and(lapsed, int32(onceguard.DefaultMaxAttempts))
	found, _, err := s.read(ctx, "sweep", &q, columnsBare, "created_at, request_id", limited(limit))
	if err != nil {
		return nil, err
	}
	var parked []onceguard.Record
	for _, r := range found {
		a, err := s.free(ctx, "sweep", r.ID, func(r onceguard.Record, at instant) (onceguard.Step, error) {
			return r.Sweep(at.now), nil
		})
		if err != nil {
			return parked, err
		}
		if a.Transition == onceguard.T5 {
			parked = append(parked, a.Record)
		}
	}
	return parked, nil
}

// Prune implements onceguard.Store: oldest first, and rows that another session
// has locked are left to the next round.
func (s *Store) Prune(ctx context.Context, p onceguard.PruneRequest) (onceguard.Pruned, error) {
	var done onceguard.Pruned
	var q query
	if p.Cursor != "" {
		after, err := s.parsePlace("prune", p.Cursor)
		if err != nil {
			return done, err
		}
		q.and("(created_at, request_id) > (?::timestamptz, ?::bytea)", after.created, after.id[:])
	}
	limit := limited(p.Limit)
	records, now, err := s.read(ctx, "prune", &q, columnsBare, "created_at, request_id", limit+1)
	if err != nil {
		return done, err
	}
	done.Done = len(records) <= limit
	if !done.Done {
		records = records[:limit]
	}
	for _, r := range records {
		done.Looked++
		done.Next = placeOf(r).String()
		step := r.Prune(now)
		if !step.Write && !step.Delete {
			continue
		}
		if !p.DryRun {
			if step, err = s.prune(ctx, r.ID); err != nil {
				return done, err
			}
		}
		switch {
		case step.Delete:
			done.Deleted++
		case step.Write:
			done.Tombstoned++
		}
	}
	if done.Done {
		done.Next = ""
	}
	return done, nil
}

func (s *Store) prune(ctx context.Context, id onceguard.RequestID) (step onceguard.Step, err error) {
	_, err = s.free(ctx, "prune", id, func(r onceguard.Record, at instant) (onceguard.Step, error) {
		step = r.Prune(at.now)
		return step, nil
	})
	return step, err
}
