package pgstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceguard/onceguard"
)

// What the server's errors mean for a commit that may have been sent.
func TestClean(t *testing.T) {
	pg := func(severity, code string) error {
		return fmt.Errorf("query: %w", &pgconn.PgError{Severity: "ERREUR", SeverityUnlocalized: severity, Code: code})
	}
	for name, x := range map[string]struct {
		err       error
		sent      bool
		clean     bool
		permanent bool
	}{
		"a constraint":                {pg("ERROR", "23514"), true, true, true},
		"a lock that was not got":     {pg("ERROR", "55P03"), true, true, false},
		"serialisation":               {pg("ERROR", "40001"), true, true, false},
		"completion unknown":          {pg("ERROR", "40003"), true, false, false},
		"resolution unknown":          {pg("ERROR", "08007"), true, false, false},
		"the session was ended":       {pg("FATAL", "57P01"), true, false, false},
		"the server fell":             {pg("PANIC", "XX000"), true, false, false},
		"ended before the commit":     {pg("FATAL", "57P01"), false, true, false},
		"the line broke":              {errors.New("EOF"), true, false, false},
		"the line broke before":       {errors.New("EOF"), false, true, false},
		"closed, says the driver":     {pgconn.ErrConnClosed, true, false, false},
		"a warning":                   {errWarned, true, false, false},
		"COMMIT that rolled back":     {errUndone, true, true, false},
		"read-only, one server":       {pg("ERROR", "25006"), true, true, true},
		"no such table":               {pg("ERROR", "42P01"), true, true, true},
		"no right to it":              {pg("ERROR", "42501"), true, true, true},
		"a condition that stays":      {refusal("no"), false, true, true},
		"another's row at a bad time": {errRaced, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Store{hosts: 1}
			var se *onceguard.StoreError
			if !errors.As(s.fail("claim", x.err, x.sent), &se) {
				t.Fatal("not a StoreError")
			}
			if se.Clean != x.clean || se.Permanent != x.permanent {
				t.Errorf("clean %t, permanent %t; want %t, %t: %v", se.Clean, se.Permanent, x.clean, x.permanent, se)
			}
		})
	}
	// With several servers in the URL, another may be the primary now.
	var se *onceguard.StoreError
	if errors.As((&Store{hosts: 2}).fail("claim", pg("ERROR", "25006"), true), &se); se.Permanent || !se.Clean {
		t.Errorf("read-only, two servers: clean %t, permanent %t", se.Clean, se.Permanent)
	}
}
