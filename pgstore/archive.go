package pgstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// chunk is how many records Dump and Load hold at a time.
const chunk = 200

// Dump implements onceguard.Archiver: by request ID, from one snapshot. The
// snapshot keeps vacuum from what changed since, so a yield that takes long has
// a price.
func (s *Store) Dump(ctx context.Context, yield func(onceguard.Record, []onceguard.Evidence) error) error {
	return s.on(ctx, "dump", common, func(ctx context.Context, c *conn) error {
		b := &pgx.Batch{}
		exec(b, "begin isolation level repeatable read read only")
		exec(b, `SELECT set_config('idle_in_transaction_session_timeout', '0', true)`)
		if err := c.run(ctx, b, false); err != nil {
			return err
		}
		defer c.abort(ctx)
		var after onceguard.RequestID // no digest is all zero
		for {
			records, evidence, err := s.page(ctx, c, after)
			if err != nil || len(records) == 0 {
				return err
			}
			for _, r := range records {
				if err := yield(r, evidence[r.ID]); err != nil {
					return &effectError{err}
				}
			}
			after = records[len(records)-1].ID
		}
	})
}

// page reads the next records with their evidence, in two statements of the
// same snapshot.
func (s *Store) page(ctx context.Context, c *conn, after onceguard.RequestID) (records []onceguard.Record, evidence map[onceguard.RequestID][]onceguard.Evidence, err error) {
	rows, err := c.Query(ctx, `SELECT `+columns+` FROM onceguard_receipt WHERE request_id > $1::bytea ORDER BY request_id LIMIT $2::integer`, after[:], int32(chunk))
	if err != nil {
		return nil, nil, err
	}
	records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (onceguard.Record, error) { return scan(row) })
	if err != nil || len(records) == 0 {
		return nil, nil, err
	}
	last := records[len(records)-1].ID
	rows, err = c.Query(ctx, `SELECT request_id, kind, attempt, at, by, detail, body FROM onceguard_evidence
		WHERE request_id > $1::bytea AND request_id <= $2::bytea ORDER BY request_id, seq`, after[:], last[:])
	if err != nil {
		return nil, nil, err
	}
	list, err := pgx.CollectRows(rows, scanEvidence)
	evidence = map[onceguard.RequestID][]onceguard.Evidence{}
	for _, e := range list {
		evidence[e.ID] = append(evidence[e.ID], e)
	}
	return records, evidence, err
}

// Load implements onceguard.Archiver. next ends with io.EOF; any other error
// leaves the store as it was: it is one transaction.
func (s *Store) Load(ctx context.Context, info onceguard.StoreInfo, secrets []onceguard.Secret, next func() (onceguard.Record, []onceguard.Evidence, error)) error {
	return s.on(ctx, "load", common, func(ctx context.Context, c *conn) error {
		if err := s.loadIdentity(ctx, c, info, secrets); err != nil {
			return err
		}
		for {
			full, err := s.loadChunk(ctx, c, next)
			if err != nil {
				return err
			}
			if !full {
				break
			}
		}
		b := &pgx.Batch{}
		commit(b)
		return c.run(ctx, b, true)
	})
}

// loadIdentity begins the transaction and refuses a store in use. The archive's
// epoch stays the acknowledged one, and the number of restores makes the
// server's another: the store is frozen until a person acknowledges that.
func (s *Store) loadIdentity(ctx context.Context, c *conn, info onceguard.StoreInfo, secrets []onceguard.Secret) error {
	var used bool
	b := &pgx.Batch{}
	s.begin(b)
	exec(b, `SELECT set_config('idle_in_transaction_session_timeout', '0', true)`)
	exec(b, `LOCK TABLE onceguard_receipt IN SHARE ROW EXCLUSIVE MODE`)
	b.Queue(`SELECT EXISTS (SELECT FROM onceguard_receipt)`).QueryRow(func(row pgx.Row) error { return row.Scan(&used) })
	if err := c.run(ctx, b, false); err != nil {
		return err
	}
	if used {
		return refusal("the store has records: an archive is loaded into an empty store only")
	}
	epoch := info.Epoch
	if epoch == "" {
		epoch = "archive"
	}
	b = &pgx.Batch{}
	exec(b, `DELETE FROM onceguard_evidence`)
	exec(b, `DELETE FROM onceguard_secret`)
	exec(b, `UPDATE onceguard_store SET store_id = $1::text, epoch = $2::text, synchronous = false,
		restores = greatest(restores, $3::integer) + 1 WHERE id = 1`, info.StoreID, epoch, restores(epoch))
	for _, x := range secrets {
		queueSecret(b, x)
	}
	s.queueEvidence(b, onceguard.Evidence{
		Kind: onceguard.EvidenceEpoch, By: "store", Body: []byte("restored " + epoch),
		Detail: "loaded from an archive of epoch " + epoch + ": what was claimed after it was written is forgotten",
	})
	return c.run(ctx, b, false)
}

// restores is the number at the end of an epoch that came from a restore.
func restores(epoch string) int32 {
	parts := strings.Split(epoch, "/")
	if n, err := strconv.ParseInt(parts[len(parts)-1], 10, 32); err == nil && len(parts) == 3 {
		return int32(n)
	}
	return 0
}

// loadChunk inserts the next records; full says that there may be more.
func (s *Store) loadChunk(ctx context.Context, c *conn, next func() (onceguard.Record, []onceguard.Evidence, error)) (full bool, err error) {
	b := &pgx.Batch{}
	var twice error
	for n := 0; n < chunk; n++ {
		r, evidence, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, &effectError{err}
		}
		full = n == chunk-1
		b.Queue(s.sql.insertRow, values(r)...).Exec(func(t tag) error {
			if t.RowsAffected() != 1 && twice == nil {
				twice = refusal("the archive holds %s twice", r.ID)
			}
			return nil
		})
		for i, e := range evidence {
			e.ID = r.ID
			queueArchived(b, e, i+1)
		}
	}
	if b.Len() == 0 {
		return false, nil
	}
	return full, errors.Join(c.run(ctx, b, false), twice)
}

// queueArchived inserts evidence with the time and place it had.
func queueArchived(b *pgx.Batch, e onceguard.Evidence, seq int) {
	e = e.Bounded()
	digest := sha256.Sum256(e.Body)
	exec(b, `INSERT INTO onceguard_evidence (request_id, seq, kind, attempt, at, by, detail, body, digest)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (request_id, kind, attempt, digest) DO NOTHING`,
		e.ID[:], int32(seq), text(string(e.Kind)), e.Attempt, stamp(e.At), text(e.By), text(e.Detail), e.Body, digest[:])
}
