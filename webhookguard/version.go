package webhookguard

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
)

// VersionTable is the statement that makes the table for Advance, named so.
const VersionTable = `CREATE TABLE IF NOT EXISTS webhook_versions (entity TEXT PRIMARY KEY, version BIGINT NOT NULL)`

// VersionSQL is Advance's statement for the named table, with the parameters
// entity and version, for drivers that are not database/sql: no affected row means
// that this version or a newer one was applied already. It runs as it is on
// PostgreSQL and SQLite.
func VersionSQL(table string) (string, error) {
	if !tableName.MatchString(table) {
		return "", fmt.Errorf("webhookguard: %q is not a plain table name", table)
	}
	return "INSERT INTO " + table + " (entity, version) VALUES ($1, $2) ON CONFLICT (entity) DO UPDATE SET version = excluded.version WHERE " +
		table + ".version < excluded.version", nil
}

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$`)

// Advance is a gate for events that come in no order: inside a transaction (see
// NewTx) it moves the entity to version, and returns false if that version or a
// newer one was applied before; the event then has nothing to add. The row stays
// locked until the transaction ends, so that two events of one entity cannot pass
// each other, and a rollback takes the move back.
func Advance(ctx context.Context, tx *sql.Tx, entity string, version int64) (bool, error) {
	statement, err := VersionSQL("webhook_versions")
	if err != nil {
		return false, err
	}
	res, err := tx.ExecContext(ctx, statement, entity, version)
	if err != nil {
		return false, fmt.Errorf("webhookguard: version of %q: %w", entity, err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
