package pgstore

import (
	"context"

	"github.com/onceguard/onceguard"
)

// Get implements onceguard.Store. It takes no lock and waits for nobody.
func (s *Store) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	if len(ids) > 1 {
		seen := make(map[onceguard.RequestID]bool, len(ids))
		for _, id := range ids {
			if seen[id] {
				return nil, s.refuse("get", "%s occurs twice in one call: ask once per request", id)
			}
			seen[id] = true
		}
	}
	members, err := s.gets(ctx, "get", ids)
	if err != nil {
		return nil, err
	}
	answers := make([]onceguard.Answer, len(ids))
	for i := range members {
		answers[i] = members[i].answer
	}
	return answers, nil
}

// Resolve implements onceguard.Store.
func (s *Store) Resolve(ctx context.Context, n onceguard.Resolution) (onceguard.Answer, error) {
	if err := n.Validate(); err != nil {
		return onceguard.Answer{}, s.refuse("resolve", "%w", err)
	}
	return s.locked(ctx, "resolve", common, n.ID, func(r onceguard.Record, at instant) (onceguard.Step, error) {
		return r.Resolve(n, at.now), nil
	})
}

// Import implements onceguard.Store. A record that is not final is refused.
func (s *Store) Import(ctx context.Context, records []onceguard.Record) ([]onceguard.Answer, error) {
	order, err := s.sorted(ctx, "import", len(records), func(i int) *onceguard.RequestID { return &records[i].ID })
	if err != nil {
		return nil, err
	}
	answers := make([]onceguard.Answer, len(records))
	for _, i := range order {
		given := records[i]
		if !given.State.Final() {
			answers[i].Err = s.refuse("import", "%s is %s: only succeeded and failed work can be imported", given.ID, given.State)
			continue
		}
		answers[i], err = s.locked(ctx, "import", common, given.ID, func(r onceguard.Record, at instant) (onceguard.Step, error) {
			if given.CreatedAt.IsZero() {
				given.CreatedAt = at.now
			}
			if given.Since.IsZero() {
				given.Since = at.now
			}
			return r.Import(given), nil
		})
		if err != nil {
			answers[i] = onceguard.Answer{Err: err}
		}
	}
	return answers, nil
}
