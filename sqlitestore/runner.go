package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
)

// runner executes statements inside a transaction that somebody else opened.
// Its statements are never interrupted by a context.
type runner interface {
	// exec returns how many rows were changed.
	exec(query string, args ...any) (int64, error)
	query(query string, args ...any) (rows, error)
}

// lent is a *sql.Tx as a runner, for Transact.
type lent struct{ tx *sql.Tx }

func (l lent) exec(query string, args ...any) (int64, error) {
	result, err := l.tx.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (l lent) query(query string, args ...any) (rows, error) {
	list, err := l.tx.QueryContext(context.Background(), query, args...)
	if err != nil {
		return nil, err
	}
	return list, nil
}

// one runs a query for one row; scan gets it.
func one(r runner, scan func(scanner) error, query string, args ...any) error {
	list, err := r.query(query, args...)
	if err != nil {
		return err
	}
	defer list.Close()
	if !list.Next() {
		return errors.Join(list.Err(), orNoRows(list.Err()))
	}
	return errors.Join(scan(list), list.Close())
}

func orNoRows(err error) error {
	if err != nil {
		return nil
	}
	return sql.ErrNoRows
}
