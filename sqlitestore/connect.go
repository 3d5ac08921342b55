package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
)

// role is what a connection is for.
type role int

const (
	writer role = iota // the store's own writes
	reader             // plain reads; cannot write
	user               // Transact, and what DB hands out
)

// dsn names the file as a URI, because only then SQLite never creates it by
// itself (mode=rw): a missing file must be an error and not an empty memory.
func dsn(path string, r role, busy time.Duration) string {
	pragmas := []string{
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()),
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"fullfsync(1)", // macOS: fsync alone does not reach the disk
		"checkpoint_fullfsync(1)",
		"journal_size_limit(67108864)",
	}
	q := url.Values{"mode": {"rw"}, "_defensive": {"1"}, "_error_rc": {"1"}}
	switch r {
	case reader:
		pragmas = append(pragmas, "query_only(1)")
	case user:
		pragmas = append(pragmas, "foreign_keys(1)")
		q.Set("_txlock", "immediate")
	default:
		q.Set("_txlock", "immediate")
	}
	q["_pragma"] = pragmas
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive letter
	}
	file := url.URL{Path: slashed}
	return "file:" + file.EscapedPath() + "?" + q.Encode()
}

// connector hands out connections whose durability was read back: a driver, a
// build or a default may set it differently, and silently.
type connector struct{ driver.Connector }

func connectorTo(path string, r role, busy time.Duration) (connector, error) {
	base, err := sqlite.NewConnector(dsn(path, r, busy))
	return connector{base}, err
}

func pool(path string, r role, busy time.Duration) (*sql.DB, error) {
	c, err := connectorTo(path, r, busy)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := verify(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// verify reads back what dsn asked for. 2 is FULL, 3 is EXTRA.
func verify(ctx context.Context, conn driver.Conn) error {
	mode, err := pragma(ctx, conn, "journal_mode")
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal_mode is %v after asking for WAL: this file cannot be shared by several processes safely, move it to a local disk", mode)
	}
	level, err := pragma(ctx, conn, "synchronous")
	if err != nil {
		return err
	}
	if level != int64(2) && level != int64(3) {
		return fmt.Errorf("synchronous is %v after asking for FULL: a power cut would lose acknowledged claims", level)
	}
	return nil
}

func pragma(ctx context.Context, conn driver.Conn, name string) (driver.Value, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return nil, fmt.Errorf("read back %s: %w", name, err)
	}
	value := make([]driver.Value, len(rows.Columns()))
	if err := errors.Join(next(rows, value), rows.Close()); err != nil {
		return nil, fmt.Errorf("read back %s: %w", name, err)
	}
	return value[0], nil
}

func next(rows driver.Rows, value []driver.Value) error {
	err := rows.Next(value)
	if errors.Is(err, io.EOF) {
		return errors.New("no answer")
	}
	return err
}

// TuneProcess sets what SQLite keeps per process, for programs whose main
// function owns that decision; call it before the first store is opened. On
// Linux it makes locks survive the closing of other descriptors of the file
// (open file description locks), and syncs commits with fdatasync, which is as
// durable as fsync and often twice as fast. Elsewhere it does nothing.
func TuneProcess() error {
	if _, err := sqlite.OFDLocking(true); err != nil && !errors.Is(err, sqlite.ErrOFDLockingUnavailable) {
		return fmt.Errorf("sqlitestore: %w", err)
	}
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return fmt.Errorf("sqlitestore: %w", err)
	}
	return nil
}
