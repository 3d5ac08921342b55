package memstore

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// Claim implements onceguard.Store.
func (s *Store) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	for _, c := range claims {
		if len(c.Fingerprints) == 0 {
			return nil, refused("claim", "claim of %s has no fingerprint", c.ID)
		}
	}
	return each(ctx, s, "claim", claims, func(c onceguard.Claim) onceguard.RequestID { return c.ID },
		func(r onceguard.Record, c onceguard.Claim, now time.Time) onceguard.Step {
			return s.freeze(r.Claim(c, now), c)
		})
}

// freeze needs the mutex.
func (s *Store) freeze(step onceguard.Step, c onceguard.Claim) onceguard.Step {
	if s.frozenWhy == "" {
		return step
	}
	return step.Freeze(c)
}

// Renew implements onceguard.Store.
func (s *Store) Renew(ctx context.Context, renewals []onceguard.Renewal) ([]onceguard.Answer, error) {
	return each(ctx, s, "renew", renewals, func(n onceguard.Renewal) onceguard.RequestID { return n.ID }, onceguard.Record.Renew)
}

// Settle implements onceguard.Store.
func (s *Store) Settle(ctx context.Context, settlements []onceguard.Settlement) ([]onceguard.Answer, error) {
	return each(ctx, s, "settle", settlements, func(n onceguard.Settlement) onceguard.RequestID { return n.ID }, onceguard.Record.Settle)
}

// Get implements onceguard.Store. It waits for nobody: a transaction's rows
// are not visible before it commits.
func (s *Store) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	if err := s.distinct(ctx, "get", len(ids), func(i int) onceguard.RequestID { return ids[i] }); err != nil {
		return nil, err
	}
	now, err := s.lock(ctx, "get")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	out := make([]onceguard.Answer, len(ids))
	for i, id := range ids {
		out[i] = onceguard.Answer{Outcome: onceguard.Missing, Now: now}
		if r, ok := s.records[id]; ok {
			out[i].Outcome, out[i].Record = onceguard.Found, copied(r)
		}
	}
	return out, nil
}

// Resolve implements onceguard.Store.
func (s *Store) Resolve(ctx context.Context, n onceguard.Resolution) (onceguard.Answer, error) {
	if err := n.Validate(); err != nil {
		return onceguard.Answer{}, refused("resolve", "%w", err)
	}
	return s.apply(ctx, "resolve", n.ID, func(r onceguard.Record, now time.Time) onceguard.Step { return r.Resolve(n, now) })
}

// Checkpoint implements onceguard.Store.
func (s *Store) Checkpoint(ctx context.Context, c onceguard.Checkpoint) (onceguard.Answer, error) {
	return s.apply(ctx, "checkpoint", c.ID, func(r onceguard.Record, _ time.Time) onceguard.Step { return r.Checkpoint(c) })
}

// Import implements onceguard.Store. A record that is not final is refused.
func (s *Store) Import(ctx context.Context, records []onceguard.Record) ([]onceguard.Answer, error) {
	if err := s.distinct(ctx, "import", len(records), func(i int) onceguard.RequestID { return records[i].ID }); err != nil {
		return nil, err
	}
	out := make([]onceguard.Answer, len(records))
	for i, given := range records {
		if !given.State.Final() {
			out[i].Err = refused("import", "%s is %s: only succeeded and failed work can be imported", given.ID, given.State)
			continue
		}
		a, err := s.apply(ctx, "import", given.ID, func(r onceguard.Record, _ time.Time) onceguard.Step { return r.Import(given) })
		if out[i] = a; err != nil {
			out[i].Err = err
		}
	}
	return out, nil
}
