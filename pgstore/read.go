package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// Get implements onceguard.Store. It takes no lock and waits for nobody.
func (s *Store) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	seen := make(map[onceguard.RequestID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return nil, s.refuse("get", "%s occurs twice in one call: ask once per request", id)
		}
		seen[id] = true
	}
	answers := make([]onceguard.Answer, len(ids))
	err := s.with(ctx, "get", common, func(ctx context.Context, c *conn) error {
		var now time.Time
		b := &pgx.Batch{}
		queueNow(b, &now)
		for i, id := range ids {
			b.Queue(s.sql.get, id[:]).QueryRow(func(row pgx.Row) error {
				r, err := scan(row)
				switch {
				case none(err):
					answers[i] = onceguard.Answer{Outcome: onceguard.Missing, Now: now}
				case err != nil:
					return err
				default:
					answers[i] = onceguard.Answer{Outcome: onceguard.Found, Record: r, Now: now}
				}
				return nil
			})
		}
		return c.run(ctx, b, false)
	})
	if err != nil {
		return nil, err
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
	ids := make([]onceguard.RequestID, len(records))
	for i, r := range records {
		ids[i] = r.ID
	}
	order, err := s.sorted(ctx, "import", ids)
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
