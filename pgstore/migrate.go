package pgstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/onceguard/onceguard/internal/sqlmigrate"
)

// schemaVersion is the newest schema that this program knows: the number of
// the last file in migrations.
const schemaVersion = 1

//go:embed migrations/*.sql
var files embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the folder is compiled in
	}
	return sub
}

// lockKey keeps two migrations of one database apart.
const lockKey int64 = 0x6f6e636567756172 // "onceguar"

// Migrate brings the schema up to date: forward only, each step in a
// transaction of its own with a bounded wait for locks. It is safe to run from
// several processes at once, and through a transaction pooler that gives it two
// connections. The role must be
// allowed to create tables in the first schema of search_path. The server's
// settings are not changed.
func Migrate(ctx context.Context, storeURL string) error {
	s := &Store{hosts: 1}
	pc, err := readConfig(storeURL)
	if err != nil {
		return s.refuse("migrate", "%w", err)
	}
	s.hosts = countHosts(pc.ConnConfig)
	config := pc.ConnConfig
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.StatementCacheCapacity, config.DescriptionCacheCapacity = 0, 0
	delete(config.RuntimeParams, "synchronous_commit")

	guard, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return s.fail("migrate", err, false)
	}
	defer guard.Close(context.WithoutCancel(ctx))
	if err := s.migratable(ctx, guard); err != nil {
		return s.fail("migrate", err, false)
	}
	// A lock of the transaction, not of the session: a session's lock stays on
	// the pooled server connection after its client has gone.
	tx, err := guard.Begin(ctx)
	if err != nil {
		return s.fail("migrate", err, false)
	}
	if _, err := tx.Exec(ctx, `SELECT set_config('idle_in_transaction_session_timeout', '0', true)`); err != nil {
		return s.fail("migrate", err, false)
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::bigint)`, lockKey); err != nil {
		return s.fail("migrate", fmt.Errorf("waiting for another migration of the same database: %w", err), false)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))

	db := sql.OpenDB(stdlib.GetConnector(*config))
	defer db.Close()
	if _, _, err := sqlmigrate.Up(ctx, db, sqlmigrate.Postgres, migrations()); err != nil {
		return s.fail("migrate", err, true)
	}
	return nil
}

// migratable refuses a server on which the schema could not be made.
func (s *Store) migratable(ctx context.Context, c *pgx.Conn) error {
	var version int
	var standby bool
	err := c.QueryRow(ctx, `SELECT current_setting('server_version_num')::integer, pg_is_in_recovery()`).Scan(&version, &standby)
	switch {
	case err != nil:
		return err
	case version < minServer:
		return refusal("the server's version number is %d; PostgreSQL 15 or later is needed", version)
	case standby:
		return s.notPrimary("the server is a standby")
	}
	return nil
}

// PrintMigrations writes the SQL of all migrations, for people who review it or
// apply it by other means. The version table onceguard_schema is goose's.
func PrintMigrations(w io.Writer) error { return sqlmigrate.Print(w, migrations()) }
