package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// guardedTx is the transaction as the caller's function sees it. A nested
// transaction (Begin) is a savepoint and is the caller's to end.
type guardedTx struct{ pgx.Tx }

// Commit is refused: the receipt commits with the caller's rows.
func (*guardedTx) Commit(context.Context) error {
	return errors.New("pgstore: the store commits this transaction, together with the receipt, when the function returns without an error")
}

// Rollback is refused: an error from the function rolls back.
func (*guardedTx) Rollback(context.Context) error {
	return errors.New("pgstore: the store rolls this transaction back when the function returns an error")
}

// settings are what a function may change in its session, beyond the end of
// the transaction: a connection on which they differ afterwards is given up.
type settings struct{ path, role, rest string }

func (v *settings) queue(b *pgx.Batch) {
	b.Queue(`SELECT current_setting('search_path'), current_setting('role'), (SELECT string_agg(current_setting(name), ' ')
		FROM unnest(ARRAY['synchronous_commit', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'enable_seqscan', 'enable_bitmapscan',
			'default_transaction_isolation', 'default_transaction_read_only', 'DateStyle', 'IntervalStyle', 'TimeZone',
			'client_encoding', 'bytea_output', 'plan_cache_mode', 'session_authorization']) AS name)`).
		QueryRow(func(row pgx.Row) error { return row.Scan(&v.path, &v.role, &v.rest) })
}
