package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// runner executes statements inside a transaction that somebody else opened.
// Its statements are never interrupted by a context.
type runner interface {
	exec(query string, args ...any) (sql.Result, error)
	query(query string, args ...any) (*sql.Rows, error)
}

// session is the writer's one connection with its prepared statements.
type session struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (s *Store) session(ctx context.Context) (*session, error) {
	if s.owned != nil {
		return s.owned, nil
	}
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return nil, err
	}
	s.owned = &session{conn: conn, prepared: map[string]*sql.Stmt{}}
	return s.owned, nil
}

// drop throws the connection away: closing it rolls back whatever it holds.
func (s *Store) drop() {
	if s.owned == nil {
		return
	}
	for _, st := range s.owned.prepared {
		_ = st.Close() // a statement left over would keep the connection alive
	}
	_ = s.owned.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = s.owned.conn.Close()
	s.owned = nil
}

func (c *session) statement(query string) (*sql.Stmt, error) {
	if st := c.prepared[query]; st != nil {
		return st, nil
	}
	st, err := c.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.prepared[query] = st
	return st, nil
}

func (c *session) exec(query string, args ...any) (sql.Result, error) {
	st, err := c.statement(query)
	if err != nil {
		return nil, err
	}
	return st.ExecContext(context.Background(), args...)
}

func (c *session) query(query string, args ...any) (*sql.Rows, error) {
	st, err := c.statement(query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(context.Background(), args...)
}

// begin waits for the write lock, as long as ctx and the busy timeout allow.
// A BEGIN whose answer was lost to the context is undone by rollback.
func (c *session) begin(ctx context.Context) error {
	st, err := c.statement("BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	_, err = st.ExecContext(ctx)
	return err
}

func (c *session) commit() error {
	_, err := c.exec("COMMIT")
	return err
}

// rollback reports whether the connection is surely outside any transaction.
// SQLite ends a transaction by itself on some errors; that is no failure.
func (c *session) rollback() bool {
	_, err := c.exec("ROLLBACK")
	return err == nil || noTransaction(err)
}

// noTransaction is SQLite's answer to a ROLLBACK where nothing is open; it has
// no code of its own.
func noTransaction(err error) bool {
	return code(err) == 1 && containsText(err, "no transaction is active")
}

// lent is a *sql.Tx as a runner, for Transact.
type lent struct{ tx *sql.Tx }

func (l lent) exec(query string, args ...any) (sql.Result, error) {
	return l.tx.ExecContext(context.Background(), query, args...)
}

func (l lent) query(query string, args ...any) (*sql.Rows, error) {
	return l.tx.QueryContext(context.Background(), query, args...)
}

// one runs a query for one row; scan gets it.
func one(r runner, scan func(scanner) error, query string, args ...any) error {
	rows, err := r.query(query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.Next() {
		return errors.Join(rows.Err(), orNoRows(rows.Err()))
	}
	return errors.Join(scan(rows), rows.Close())
}

func orNoRows(err error) error {
	if err != nil {
		return nil
	}
	return sql.ErrNoRows
}
