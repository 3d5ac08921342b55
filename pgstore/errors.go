package pgstore

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceguard/onceguard"
)

// SQLSTATE codes that the store acts on.
const (
	codeReadOnly      = "25006" // read_only_sql_transaction
	codeSerialization = "40001"
	codeDeadlock      = "40P01"
	codeCompletion    = "40003" // statement_completion_unknown
	codeResolution    = "08007" // transaction_resolution_unknown
	codeLockTimeout   = "55P03"
	codeUnique        = "23505"
)

// errRaced asks for another try: another session was between two of our
// statements, and nothing was written.
var errRaced = errors.New("the row changed under the call")

// errUndone is for a COMMIT that the server answered with ROLLBACK.
var errUndone = errors.New("the server rolled back instead of committing")

// errWarned makes a commit ambiguous: the server may have given up its wait for
// a synchronous standby.
var errWarned = errors.New("the server warned while it wrote")

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// again reports whether the whole transaction may be tried once more: nothing
// of it was written.
func again(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return errors.Is(err, errRaced)
	}
	return pg.Code == codeSerialization || pg.Code == codeDeadlock ||
		(pg.Code == codeUnique && pg.ConstraintName == "onceguard_evidence_pkey") // two notes at once
}

// definite reports whether err is the server's word that the transaction was
// undone. An error of severity ERROR is; a session that was ended (FATAL) may
// have committed before: "canceling the wait for synchronous replication and
// terminating connection" leaves the row in place.
func definite(err error) bool {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code == codeCompletion || pg.Code == codeResolution {
		return false
	}
	severity := pg.SeverityUnlocalized
	if severity == "" {
		severity = pg.Severity
	}
	return severity == "ERROR"
}

// fail wraps err for the caller. sent says that a commit may have reached the
// server by the time of err.
func (s *Store) fail(op string, err error, sent bool) error {
	if err == nil {
		return nil
	}
	var done *onceguard.StoreError
	if errors.As(err, &done) {
		return err
	}
	// pgconn.SafeToRetry is no help here: a batch that loses its connection may
	// report "conn closed", which counts as safe, for what it has sent.
	e := &onceguard.StoreError{Op: op, Err: err, Clean: !sent || definite(err) || errors.Is(err, errRaced) || errors.Is(err, errUndone)}
	var no *refused
	switch c := code(err); {
	case errors.As(err, &no):
		e.Permanent = true
	case c == codeReadOnly:
		e.Err = fmt.Errorf("%w (%w)", s.notPrimary("the server has become read-only"), err)
		e.Permanent = s.hosts < 2
	case c == "42P01", c == "42703": // undefined table, undefined column
		e.Err, e.Permanent = fmt.Errorf("the schema is not the one that this program knows: run `%s` (%w)", migrateCommand, err), true
	case c == "42501", c == "28000", c == "28P01", c == "3D000": // privilege, login, no database
		e.Permanent = true
	case len(c) == 5 && (c[:2] == "22" || c[:2] == "23"): // bad value, constraint
		e.Permanent = true
	}
	if errors.As(err, new(*pgconn.ConnectError)) {
		e.Clean = true
	}
	return e
}

// migrateCommand is what errors tell people to run.
const migrateCommand = "onceguard store migrate --store URL"
