package memstore

import (
	"context"

	"github.com/onceguard/onceguard"
)

// Sweep implements onceguard.Store. It passes by what a transaction holds.
func (s *Store) Sweep(ctx context.Context, limit int) ([]onceguard.Record, error) {
	now, err := s.lock(ctx, "sweep")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var parked []onceguard.Record
	for id, r := range s.records {
		if len(parked) >= limited(limit, 1000) {
			break
		}
		step := r.Sweep(now)
		if !step.Write || (s.txDone != nil && s.inTx == id) {
			continue
		}
		s.write(id, step, now)
		parked = append(parked, copied(step.Record))
	}
	return parked, nil
}

// Prune implements onceguard.Store.
func (s *Store) Prune(ctx context.Context, p onceguard.PruneRequest) (onceguard.Pruned, error) {
	now, err := s.lock(ctx, "prune")
	if err != nil {
		return onceguard.Pruned{}, err
	}
	defer s.mu.Unlock()
	var done onceguard.Pruned
	places, err := s.from("prune", p.Cursor, func(onceguard.Record) bool { return true })
	if err != nil {
		return done, err
	}
	done.Done = true
	if limit := limited(p.Limit, 1000); len(places) > limit {
		places = places[:limit]
		done.Done, done.Next = false, places[limit-1].String()
	}
	for _, at := range places {
		done.Looked++
		step := s.records[at.id].Prune(now)
		switch {
		case s.txDone != nil && s.inTx == at.id:
			continue
		case step.Delete:
			done.Deleted++
		case step.Write:
			done.Tombstoned++
		default:
			continue
		}
		if p.DryRun {
			continue
		}
		s.write(at.id, step, now)
		if pile := s.evidence[at.id]; pile != nil {
			for i := range pile.list {
				pile.list[i].Body = nil // bodies go with the result
			}
		}
	}
	return done, nil
}
