// Package sqlmigrate brings a SQL store's schema up to date: embedded,
// forward-only goose migrations, numbered in the table onceguard_schema.
//
// It may import goose and the standard library; it knows no store.
package sqlmigrate

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
)

// Table holds one row per applied migration. Its name keeps it apart from the
// version table of an application that shares the database and uses goose too.
const Table = "onceguard_schema"

// Dialect names the SQL that a store speaks.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite3"
	Postgres Dialect = "postgres"
)

// tries bounds how often Up starts again after losing a race with another
// process that migrates the same database.
const tries = 6

// Up applies the migrations of fsys that db lacks, each in a transaction of its
// own together with its row in Table, and returns the schema version before and
// after. A database that is ahead of fsys is left alone: whether this binary may
// use it is the store's decision (min_version), not a matter of migrating.
//
// Several processes may call Up at once. The loser of a race fails inside its
// transaction, which leaves nothing behind, and looks again. db must be able to
// give one connection, and for SQLite it must begin transactions IMMEDIATE.
func Up(ctx context.Context, db *sql.DB, dialect Dialect, fsys fs.FS) (from, to int64, err error) {
	from, target, err := Version(ctx, db, dialect, fsys)
	if err != nil || from >= target {
		return from, from, err
	}
	for try := 1; ; try++ {
		err = up(ctx, db, dialect, fsys)
		current, _, verr := Version(ctx, db, dialect, fsys)
		switch {
		case err == nil && verr == nil:
			return from, current, nil
		case verr == nil && current >= target:
			return from, current, nil // another process finished the work
		case try == tries, ctx.Err() != nil:
			return from, current, errors.Join(err, verr)
		}
		pause := time.NewTimer(time.Duration(try) * 50 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

func up(ctx context.Context, db *sql.DB, dialect Dialect, fsys fs.FS) error {
	provider, err := goose.NewProvider(goose.Dialect(dialect), db, fsys,
		goose.WithTableName(Table), goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	// Provider.Close would close db, which belongs to the caller.
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the schema: %w", err)
	}
	return nil
}

// Version returns the schema version of db (0 where nothing was ever migrated)
// and the one that fsys leads to. It only reads, so that it also works on a
// standby or with a read-only role.
func Version(ctx context.Context, db *sql.DB, dialect Dialect, fsys fs.FS) (current, target int64, err error) {
	list, err := migrations(fsys)
	if err != nil {
		return 0, 0, err
	}
	target = list[len(list)-1].version
	exists := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '" + Table + "'"
	if dialect == Postgres {
		exists = "SELECT count(to_regclass('" + Table + "'))"
	}
	var tables int
	if err := db.QueryRowContext(ctx, exists).Scan(&tables); err != nil {
		return 0, target, fmt.Errorf("look for the table %s: %w", Table, err)
	}
	if tables == 0 {
		return 0, target, nil
	}
	var top sql.NullInt64
	if err := db.QueryRowContext(ctx, "SELECT max(version_id) FROM "+Table).Scan(&top); err != nil {
		return 0, target, fmt.Errorf("read the schema version: %w", err)
	}
	return top.Int64, target, nil
}
