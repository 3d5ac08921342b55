package sqlitestore

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/onceguard/onceguard"
)

// note appends evidence; equal evidence is kept once.
func (t *txn) note(e onceguard.Evidence, at time.Time) error {
	e = e.Bounded()
	digest := sha256.Sum256(e.Body)
	n, err := t.exec(insertEvidence, e.ID[:], string(e.Kind), e.Attempt, micros(at), e.By, e.Detail, digest[:], blob(e.Body), int64(onceguard.MaxEvidence))
	t.wrote = t.wrote || n > 0
	return err
}

// Evidence implements onceguard.Store; the oldest comes first.
func (s *Store) Evidence(ctx context.Context, id onceguard.RequestID) ([]onceguard.Evidence, error) {
	const op = "evidence"
	if err := s.usable(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	rows, err := s.read.QueryContext(ctx, selectEvidence, id[:])
	if err != nil {
		return nil, cleanly(op, err)
	}
	list, err := scanEvidence(rows, id)
	return list, cleanly(op, err)
}

func scanEvidence(rows rows, id onceguard.RequestID) ([]onceguard.Evidence, error) {
	defer rows.Close()
	var list []onceguard.Evidence
	for rows.Next() {
		e := onceguard.Evidence{ID: id}
		var at int64
		if err := rows.Scan(&e.Kind, &e.Attempt, &at, &e.By, &e.Detail, &e.Body); err != nil {
			return nil, err
		}
		e.At = timeOf(at)
		list = append(list, e)
	}
	return list, rows.Err()
}
