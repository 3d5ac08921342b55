package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/onceguard/onceguard"
)

// Dump implements onceguard.Archiver: newest records first, from one snapshot.
// It holds back no writer; while it runs the write-ahead log cannot shrink.
func (s *Store) Dump(ctx context.Context, yield func(onceguard.Record, []onceguard.Evidence) error) error {
	const op = "dump"
	if err := s.usable(ctx); err != nil {
		return cleanly(op, err)
	}
	tx, err := s.read.BeginTx(ctx, nil)
	if err != nil {
		return cleanly(op, err)
	}
	defer tx.Rollback()
	query, args := "SELECT created_at, request_id FROM onceguard_receipt"+newestFirst, []any{limited(1000)}
	for {
		places, err := dumpPlaces(ctx, tx, query, args)
		if err != nil || len(places) == 0 {
			return cleanly(op, err)
		}
		for _, p := range places {
			// One record at a time: a page of results could fill the memory.
			r, err := scanRecord(tx.QueryRowContext(ctx, selectRow, p.id[:]))
			if err != nil {
				return cleanly(op, err)
			}
			rows, err := tx.QueryContext(ctx, selectEvidence, p.id[:])
			if err != nil {
				return cleanly(op, err)
			}
			evidence, err := scanEvidence(rows, p.id)
			if err != nil {
				return cleanly(op, err)
			}
			if err := yield(r, evidence); err != nil {
				return cleanly(op, err)
			}
		}
		condition, more := places[len(places)-1].after()
		query = "SELECT created_at, request_id FROM onceguard_receipt WHERE " + condition + newestFirst
		args = append(more, limited(1000))
	}
}

func dumpPlaces(ctx context.Context, tx *sql.Tx, query string, args []any) ([]place, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var places []place
	for rows.Next() {
		var p place
		var id []byte
		if err := rows.Scan(&p.created, &id); err != nil {
			return nil, err
		}
		if err := fill(p.id[:], id); err != nil {
			return nil, err
		}
		places = append(places, p)
	}
	return places, rows.Err()
}

// Load implements onceguard.Archiver: all of the archive in one transaction, or
// nothing. next ends with io.EOF. It is called with the write lock held, so it
// must not call the store.
func (s *Store) Load(ctx context.Context, info onceguard.StoreInfo, secrets []onceguard.Secret, next func() (onceguard.Record, []onceguard.Evidence, error)) error {
	const op = "load"
	if info.StoreID == "" {
		return refused(op, "the archive does not say which store it is of")
	}
	err := s.writing(ctx, op, func(t *txn) error {
		var rows int64
		if err := one(t, func(row scanner) error { return row.Scan(&rows) }, "SELECT count(*) FROM onceguard_receipt"); err != nil {
			return err
		}
		if rows > 0 {
			return refused(op, "the store has %d records: an archive is loaded into an empty store only", rows)
		}
		if _, err := t.exec("DELETE FROM onceguard_secret"); err != nil {
			return err
		}
		if err := t.addSecrets(secrets); err != nil {
			return err
		}
		if err := t.load(ctx, op, next); err != nil {
			return err
		}
		if err := t.changed("UPDATE onceguard_store SET store_id = ?", info.StoreID); err != nil {
			return err
		}
		return t.freeze("loaded from an archive of epoch " + info.Epoch + ": what was claimed after it was written is forgotten")
	})
	if err == nil {
		s.id.Store(&info.StoreID)
	}
	return err
}

func (t *txn) load(ctx context.Context, op string, next func() (onceguard.Record, []onceguard.Evidence, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, evidence, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		before, err := t.record(r.ID)
		if err != nil {
			return err
		}
		if before.State != onceguard.Absent {
			return refused(op, "the archive holds %s twice", r.ID)
		}
		if err := t.changed(insertRow, values(r)...); err != nil {
			return err
		}
		for _, e := range evidence {
			if err := t.note(e, e.At); err != nil {
				return err
			}
		}
	}
}

// Backup writes a copy of the whole database to a new file, compact and as of
// one moment, while others go on working. The copy notices that it is one: when
// it is opened it has a new epoch and is frozen until acknowledged. Its secrets
// are in it, so it is readable by its owner alone.
func (s *Store) Backup(ctx context.Context, path string) error {
	const op = "backup"
	if err := s.usable(ctx); err != nil {
		return cleanly(op, err)
	}
	// VACUUM INTO accepts an empty file, and one that is created here has the
	// mode that the secrets need from its first byte on.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return cleanly(op, err)
	}
	if err := f.Close(); err != nil {
		return cleanly(op, err)
	}
	if err := errors.Join(s.vacuumInto(ctx, path), orphan(ctx, path, s.busy)); err != nil {
		return cleanly(op, errors.Join(err, os.Remove(path)))
	}
	return cleanly(op, errors.Join(syncFile(path), syncDir(filepath.Dir(path))))
}

// vacuumInto uses a connection of the caller's kind, since readers may write
// nothing at all, and begins no transaction, which VACUUM forbids.
func (s *Store) vacuumInto(ctx context.Context, path string) error {
	_, err := s.shared.ExecContext(ctx, "VACUUM INTO ?", path)
	return err
}

// orphan makes a backup forget which file it came from, so that it is noticed
// also when it is written over the original in place.
func orphan(ctx context.Context, path string, busy time.Duration) error {
	db, err := pool(path, writer, busy)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "UPDATE onceguard_store SET file = -1")
	return errors.Join(err, db.Close())
}
