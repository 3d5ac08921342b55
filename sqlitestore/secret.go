package sqlitestore

import (
	"context"

	"github.com/onceguard/onceguard"
)

const (
	selectSecrets = `SELECT name, value, wrapped, created_at FROM onceguard_secret ORDER BY name`
	insertSecret  = `INSERT INTO onceguard_secret (name, value, wrapped, created_at) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING`
)

// Secrets implements onceguard.Store. Two processes that start on a new store
// at once both leave with the secrets of the first.
func (s *Store) Secrets(ctx context.Context, offer []onceguard.Secret) ([]onceguard.Secret, error) {
	const op = "secrets"
	if err := s.usable(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	rows, err := s.read.QueryContext(ctx, selectSecrets)
	if err != nil {
		return nil, cleanly(op, err)
	}
	list, err := scanSecrets(rows)
	if err != nil {
		return nil, cleanly(op, err)
	}
	have := make(map[string]bool, len(list))
	for _, x := range list {
		have[x.Name] = true
	}
	absent := false
	for _, x := range offer {
		absent = absent || !have[x.Name]
	}
	if !absent {
		return list, nil
	}
	err = s.writing(ctx, op, func(t *txn) error {
		if err := t.addSecrets(offer); err != nil {
			return err
		}
		rows, err := t.query(selectSecrets)
		if err != nil {
			return err
		}
		list, err = scanSecrets(rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

func (t *txn) addSecrets(offer []onceguard.Secret) error {
	for _, x := range offer {
		if x.CreatedAt.IsZero() {
			x.CreatedAt = t.now
		}
		if _, err := t.exec(insertSecret, x.Name, blob(x.Value), flag(x.Wrapped), micros(x.CreatedAt)); err != nil {
			return err
		}
		t.wrote = true
	}
	return nil
}

func scanSecrets(rows rows) ([]onceguard.Secret, error) {
	defer rows.Close()
	var list []onceguard.Secret
	for rows.Next() {
		var x onceguard.Secret
		var created int64
		if err := rows.Scan(&x.Name, &x.Value, &x.Wrapped, &created); err != nil {
			return nil, err
		}
		x.CreatedAt = timeOf(created)
		list = append(list, x)
	}
	return list, rows.Err()
}
