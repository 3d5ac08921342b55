package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const queryLimit = 30 * time.Second

// Exec runs one statement in the database postgres of the cluster, as superuser.
func (c *Cluster) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	Exec(t, c.URL("postgres"), sql, args...)
}

// Exec runs one statement on a connection of its own. Without arguments it may
// be several statements.
func Exec(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	if err := exec1(url, sql, args...); err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
}

// Value runs a query that yields one row of one column, on a connection of its
// own: nothing that the connections under test did can colour the answer.
func Value[T any](t testing.TB, url, sql string, args ...any) T {
	t.Helper()
	v, err := value[T](url, sql, args...)
	if err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
	return v
}

// WaitFor asks until a query for one boolean says true. An error counts as
// "not yet"; it fails the test after 30 seconds.
func WaitFor(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	var last error
	ok := poll(queryLimit, func() bool {
		var yes bool
		yes, last = value[bool](url, sql, args...)
		return last == nil && yes
	})
	if !ok {
		t.Fatalf("pgtest: still not true after %v: %s (last error: %v)", queryLimit, sql, last)
	}
}

func value[T any](url, sql string, args ...any) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), queryLimit)
	defer cancel()
	var v T
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return v, err
	}
	err = conn.QueryRow(ctx, sql, args...).Scan(&v)
	if cerr := conn.Close(ctx); err == nil {
		err = cerr
	}
	return v, err
}
