package sqlitestore

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// rows is the part of *sql.Rows that the store needs.
type rows interface {
	scanner
	Next() bool
	Err() error
	Close() error
}

// cursor is the driver's rows as rows. Scan knows the types that the store
// keeps its columns in, and no conversions beside.
type cursor struct {
	rows   driver.Rows
	values []driver.Value
	err    error
	closed bool
}

func (c *cursor) Next() bool {
	if c.err != nil || c.closed {
		return false
	}
	if c.values == nil {
		c.values = make([]driver.Value, len(c.rows.Columns()))
	}
	err := c.rows.Next(c.values)
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return err == nil
}

func (c *cursor) Err() error { return c.err }

func (c *cursor) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	return c.rows.Close()
}

// Scan implements scanner.
func (c *cursor) Scan(dest ...any) error {
	if len(dest) != len(c.values) {
		return fmt.Errorf("%d columns are read into %d places: this is a bug in the store", len(c.values), len(dest))
	}
	for i, d := range dest {
		if err := assign(d, c.values[i]); err != nil {
			return fmt.Errorf("column %s: %w", c.rows.Columns()[i], err)
		}
	}
	return nil
}

func assign(dest any, v driver.Value) error {
	if v == nil {
		switch d := dest.(type) {
		case *[]byte:
			*d = nil
			return nil
		case *sql.NullInt64:
			*d = sql.NullInt64{}
			return nil
		}
		return fmt.Errorf("is NULL where a %T belongs: the database was changed by other means", dest)
	}
	switch d := dest.(type) {
	case *string:
		if x, ok := v.(string); ok {
			*d = x
			return nil
		}
	case *[]byte:
		if x, ok := v.([]byte); ok {
			*d = x
			return nil
		}
	case *int64:
		if x, ok := v.(int64); ok {
			*d = x
			return nil
		}
	case *bool:
		if x, ok := v.(int64); ok {
			*d = x != 0
			return nil
		}
	case *sql.NullInt64:
		if x, ok := v.(int64); ok {
			*d = sql.NullInt64{Int64: x, Valid: true}
			return nil
		}
	}
	return fmt.Errorf("is a %T where a %T belongs: the database was changed by other means", v, dest)
}
