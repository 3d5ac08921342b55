package pgstore

import (
	"context"
	"crypto/sha256"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

func (s *Store) queueEvidence(b *pgx.Batch, e onceguard.Evidence) {
	e = e.Bounded()
	digest := sha256.Sum256(e.Body)
	exec(b, s.sql.insertEvidence, e.ID[:], text(string(e.Kind)), e.Attempt, text(e.By), text(e.Detail), e.Body, digest[:], int32(onceguard.MaxEvidence))
}

// AppendEvidence implements onceguard.Store. The row, if there is one, is
// locked meanwhile, so that the notes of a request are numbered in order.
func (s *Store) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	_, err := s.locked(ctx, "append evidence", common, e.ID, func(r onceguard.Record, _ instant) (onceguard.Step, error) {
		return onceguard.Step{Outcome: onceguard.Applied, Record: r, Evidence: []onceguard.Evidence{e}}, nil
	})
	return err
}

// Checkpoint implements onceguard.Store.
func (s *Store) Checkpoint(ctx context.Context, n onceguard.Checkpoint) (onceguard.Answer, error) {
	return s.locked(ctx, "checkpoint", outcome, n.ID, func(r onceguard.Record, _ instant) (onceguard.Step, error) {
		return r.Checkpoint(n), nil
	})
}

const readEvidence = `SELECT request_id, kind, attempt, at, by, detail, body FROM onceguard_evidence
	WHERE request_id = $1::bytea ORDER BY seq`

// Evidence implements onceguard.Store; the oldest comes first.
func (s *Store) Evidence(ctx context.Context, id onceguard.RequestID) ([]onceguard.Evidence, error) {
	var list []onceguard.Evidence
	err := s.with(ctx, "evidence", common, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, readEvidence, id[:])
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, scanEvidence)
		return err
	})
	return list, err
}

func scanEvidence(row pgx.CollectableRow) (e onceguard.Evidence, err error) {
	var id []byte
	err = row.Scan(&id, &e.Kind, &e.Attempt, &e.At, &e.By, &e.Detail, &e.Body)
	copy(e.ID[:], id)
	e.At = e.At.UTC()
	return e, err
}
