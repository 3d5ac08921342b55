package sqlitestore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// session is one connection with its prepared statements, spoken to in the
// driver's own terms: database/sql costs several times what SQLite needs for a
// row. One goroutine uses it at a time.
type session struct {
	conn     driver.Conn
	prepared map[string]statement
	args     []driver.NamedValue // reused: no statement keeps its arguments
	last     int64               // row ID of the latest insert
	store    storeRow            // as it was read last
}

// statement is what the driver's statements can do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// dial opens a connection whose durability was read back.
func dial(ctx context.Context, path string, r role, busy time.Duration) (*session, error) {
	c, err := connectorTo(path, r, busy)
	if err != nil {
		return nil, err
	}
	conn, err := c.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, prepared: map[string]statement{}}, nil
}

// close also rolls back whatever the connection holds.
func (c *session) close() error {
	var errs []error
	for _, st := range c.prepared {
		errs = append(errs, st.Close()) // a statement left over would keep the connection alive
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

// session is the writer's; the caller holds the gate's token.
func (s *Store) session(ctx context.Context) (*session, error) {
	if s.owned != nil {
		return s.owned, nil
	}
	c, err := dial(ctx, s.path, writer, s.busy)
	if err != nil {
		return nil, err
	}
	for _, setting := range []string{
		"busy_timeout = 0",    // await waits itself
		"cache_size = -16000", // KiB: new requests hit the pages of the index at random
		fmt.Sprint("wal_autocheckpoint = ", s.logPages()),
	} {
		if _, err := c.exec("PRAGMA " + setting); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	s.owned = c
	return c, nil
}

// logPages is how long the write-ahead log grows before it is moved into the
// database: the longer, the fewer times the same page is moved. It stays below
// the reserve, which is what the disk is expected to have.
func (s *Store) logPages() int64 {
	const page, usual, most = 4096, 1000, 4000
	if s.reserve <= 0 {
		return most
	}
	return min(max(s.reserve/page, usual), most)
}

// drop throws the writer's connection away.
func (s *Store) drop() {
	if s.owned == nil {
		return
	}
	_ = s.owned.close()
	s.owned = nil
}

func (c *session) statement(query string) (statement, error) {
	if st, ok := c.prepared[query]; ok {
		return st, nil
	}
	st, err := c.conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	whole, ok := st.(statement)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the driver's statements are %T, which have no context", st), st.Close())
	}
	c.prepared[query] = whole
	return whole, nil
}

func (c *session) exec(query string, args ...any) (int64, error) {
	st, err := c.statement(query)
	if err != nil {
		return 0, err
	}
	result, err := st.ExecContext(context.Background(), c.named(args))
	if err != nil {
		return 0, err
	}
	if c.last, err = result.LastInsertId(); err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *session) query(query string, args ...any) (rows, error) {
	st, err := c.statement(query)
	if err != nil {
		return nil, err
	}
	list, err := st.QueryContext(context.Background(), c.named(args))
	if err != nil {
		return nil, err
	}
	return &cursor{rows: list}, nil
}

// any reports whether a query has a row.
func (c *session) any(query string, args ...any) (bool, error) {
	list, err := c.query(query, args...)
	if err != nil {
		return false, err
	}
	found := list.Next()
	return found, errors.Join(list.Err(), list.Close())
}

func (c *session) named(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return c.args
}

// begin takes the write lock, or says that it is taken.
func (c *session) begin() error {
	_, err := c.exec("BEGIN IMMEDIATE")
	return err
}

// await waits for the write lock, as long as ctx and patience allow. The wait
// is ours and not SQLite's: that of SQLite grows to a tenth of a second, in
// which a busy neighbour commits many times without its turn ever coming.
func (c *session) await(ctx context.Context, patience time.Duration) error {
	const longest = 4 * time.Millisecond
	pause := 250 * time.Microsecond
	until := time.Now().Add(patience)
	for {
		err := c.begin()
		if err == nil || !isBusy(err) || !time.Now().Before(until) {
			return err
		}
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, longest)
	}
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
