package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/onceguard/onceguard"
)

var errClosed = errors.New("the store is closed")

// code is SQLite's primary result code of err, 0 where there is none.
func code(err error) int {
	if err == nil {
		return 0 // without the allocation of e, in the hot path
	}
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED || c == sqlite3.SQLITE_PROTOCOL
}

// isFull also covers the shared memory file, which SQLite cannot grow either
// and reports in its own way.
func isFull(err error) bool {
	if err == nil {
		return false
	}
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_FULL || e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE)
}

// isMember says that the statement failed for what it was asked to write, so
// that its neighbours in the transaction are unharmed.
func isMember(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return true
	}
	return false
}

// permanent says that trying again is pointless until somebody acts.
func permanent(err error) bool {
	switch code(err) {
	case 0:
		return errors.Is(err, errClosed)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_FULL,
		sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_ABORT:
		return false
	}
	return true
}

// storeError turns err into a *StoreError, saying what to do where SQLite's own
// words do not. One that is a *StoreError already keeps its judgement.
func storeError(op string, clean bool, err error) error {
	if err == nil {
		return nil
	}
	var se *onceguard.StoreError
	if errors.As(err, &se) {
		if e, bare := err.(*onceguard.StoreError); bare && e.Op == "" {
			named := *e
			named.Op = op
			return &named
		}
		return err
	}
	hint := ""
	switch {
	case isBusy(err):
		hint = "another connection kept the write lock: "
	case isFull(err):
		hint = "the disk is full, free some space: "
	case code(err) == sqlite3.SQLITE_CORRUPT:
		hint = "the database is damaged, restore it from a backup and do not recreate it empty: "
	case code(err) == sqlite3.SQLITE_NOTADB:
		hint = "not a SQLite database, and it is never overwritten with an empty one: "
	case code(err) == sqlite3.SQLITE_READONLY, code(err) == sqlite3.SQLITE_CANTOPEN:
		hint = "check the permissions of the file and its folder: "
	}
	if hint != "" {
		err = fmt.Errorf("%s%w", hint, err)
	}
	return &onceguard.StoreError{Op: op, Clean: clean, Permanent: permanent(err), Err: err}
}

// cleanly is a failure that surely wrote nothing.
func cleanly(op string, err error) error { return storeError(op, true, err) }

// unclear is a failure that may have written.
func unclear(op string, err error) error { return storeError(op, false, err) }

// refused is a clean failure that trying again does not mend. Without an op it
// takes that of the call that it ends.
func refused(op, format string, args ...any) error {
	return &onceguard.StoreError{Op: op, Clean: true, Permanent: true, Err: fmt.Errorf(format, args...)}
}

// lasting keeps a context's values and drops its end: once a transaction has
// begun, it is finished and not interrupted.
func lasting(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
