package pgstore

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

const (
	insertSecret = `INSERT INTO onceguard_secret (name, value, wrapped, created_at)
		VALUES ($1::text, $2::bytea, $3::boolean, coalesce($4::timestamptz, clock_timestamp())) ON CONFLICT (name) DO NOTHING`
	readSecrets = `SELECT name, value, wrapped, created_at FROM onceguard_secret ORDER BY name COLLATE "C"`
)

// Secrets implements onceguard.Store. What is offered and what is read back are
// two statements: the second sees what another process stored first.
func (s *Store) Secrets(ctx context.Context, offer []onceguard.Secret) ([]onceguard.Secret, error) {
	var list []onceguard.Secret
	offer = slices.Clone(offer)
	slices.SortFunc(offer, func(a, b onceguard.Secret) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	err := s.with(ctx, "secrets", common, func(ctx context.Context, c *conn) error {
		b := &pgx.Batch{}
		s.implicit(b, func() {
			for _, x := range offer {
				queueSecret(b, x)
			}
			b.Queue(readSecrets).Query(func(rows pgx.Rows) (err error) {
				list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x onceguard.Secret, err error) {
					err = row.Scan(&x.Name, &x.Value, &x.Wrapped, &x.CreatedAt)
					x.CreatedAt = x.CreatedAt.UTC()
					return x, err
				})
				return err
			})
		})
		return c.run(ctx, b, true)
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func queueSecret(b *pgx.Batch, x onceguard.Secret) {
	value := x.Value
	if value == nil {
		value = []byte{}
	}
	var made *time.Time = stamp(x.CreatedAt)
	exec(b, insertSecret, x.Name, value, x.Wrapped, made)
}
