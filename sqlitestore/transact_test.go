package sqlitestore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

func impatient() *sqlitestore.Options {
	o := quiet()
	o.Busy = 50 * time.Millisecond
	return o
}

// Somebody else holds the write lock: claims are refused with nothing written,
// and what is known is still replayed, because a replay takes no lock.
func TestBusy(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), impatient())
	final, held := grant(t, s, "final"), grant(t, s, "held")
	settle(t, s, success(final, []byte("paid")))
	tx, err := s.DB().Begin()
	must(t, err)

	c := request(t, "new")
	_, err = s.Claim(ctx, []onceguard.Claim{c})
	if se := storeErr(t, err, true, false); !strings.Contains(se.Error(), "write lock") {
		t.Errorf("the error does not say what holds it up: %v", se)
	}
	_, err = s.Settle(ctx, []onceguard.Settlement{success(held, nil)})
	storeErr(t, err, true, false)
	if r := claim(t, s, request(t, "final")); r.Outcome != onceguard.Settled || string(r.Record.Result.Body) != "paid" {
		t.Errorf("the replay is %s", r.Outcome)
	}
	if a := claim(t, s, request(t, "held")); a.Outcome != onceguard.Held {
		t.Errorf("another's claim is %s", a.Outcome)
	}
	_, err = s.Transact(ctx, request(t, "tx"), func(context.Context, any) (onceguard.Result, error) {
		t.Error("the function ran")
		return onceguard.Result{}, nil
	})
	storeErr(t, err, true, false)

	must(t, tx.Rollback())
	if r := get(t, s, c.ID); r.State != onceguard.Absent {
		t.Errorf("the refused claim left a record: %s", r.State)
	}
	if a := claim(t, s, c); a.Transition != onceguard.T1 {
		t.Errorf("after the lock is free: %s by %s (%v)", a.Outcome, a.Transition, a.Err)
	}
}

func transactional(t *testing.T, name string) onceguard.Claim {
	c := request(t, name)
	c.Policy = onceguard.Transactional
	return c
}

// A function that calls the store would wait for itself.
func TestTransactRefusesCallsInside(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	a, err := s.Transact(ctx, transactional(t, "outer"), func(ctx context.Context, _ any) (onceguard.Result, error) {
		_, err := s.Claim(ctx, []onceguard.Claim{request(t, "inner")})
		storeErr(t, err, true, true)
		_, err = s.Transact(ctx, transactional(t, "inner"), nil)
		storeErr(t, err, true, true)
		return onceguard.NewResult("x", nil), nil
	})
	if err != nil || a.Transition != onceguard.T11 {
		t.Errorf("the outer one ended with %s, %v", a.Outcome, err)
	}
}

// A function must not commit by itself. If it does, its rows are stored, and
// the request must not be forgotten with them.
func TestTransactCommittedByTheFunction(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	_, err := s.DB().Exec("CREATE TABLE mine (x)")
	must(t, err)
	c := transactional(t, "1")
	_, err = s.Transact(ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
		if _, err := tx.(*sql.Tx).ExecContext(ctx, "INSERT INTO mine VALUES (1)"); err != nil {
			return onceguard.Result{}, err
		}
		return onceguard.NewResult("x", nil), tx.(*sql.Tx).Commit()
	})
	if se := storeErr(t, err, false, false); !strings.Contains(se.Error(), "by itself") {
		t.Errorf("the error does not say what happened: %v", se)
	}
	if r := get(t, s, c.ID); r.State != onceguard.Claimed {
		t.Errorf("the record is %s: the next caller would run again", r.State)
	}
}

func TestTransactEndsWithItsCaller(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	_, err := s.DB().Exec("CREATE TABLE mine (x)")
	must(t, err)
	c := transactional(t, "1")
	life, end := context.WithCancel(ctx)
	_, err = s.Transact(life, c, func(_ context.Context, tx any) (onceguard.Result, error) {
		if _, err := tx.(*sql.Tx).Exec("INSERT INTO mine VALUES (1)"); err != nil {
			return onceguard.Result{}, err
		}
		end()
		return onceguard.NewResult("x", nil), nil
	})
	storeErr(t, err, true, false)
	if r := get(t, s, c.ID); r.State != onceguard.Absent {
		t.Errorf("the record is %s", r.State)
	}
	var n int
	must(t, s.DB().QueryRow("SELECT count(*) FROM mine").Scan(&n))
	if n != 0 {
		t.Errorf("%d rows of a transaction that was given up", n)
	}
	if a, err := s.Transact(ctx, c, func(context.Context, any) (onceguard.Result, error) { return onceguard.NewResult("x", nil), nil }); err != nil || a.Transition != onceguard.T11 {
		t.Errorf("the next one ended with %s, %v", a.Outcome, err)
	}
}

// What a caller reads through DB follows the schema it declared.
func TestForeignKeysHold(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	_, err := s.DB().Exec("CREATE TABLE a (id INTEGER PRIMARY KEY); CREATE TABLE b (a REFERENCES a)")
	must(t, err)
	c := transactional(t, "1")
	_, err = s.Transact(ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
		_, err := tx.(*sql.Tx).ExecContext(ctx, "INSERT INTO b VALUES (7)")
		return onceguard.Result{}, err
	})
	if err == nil || !strings.Contains(err.Error(), "FOREIGN KEY") {
		t.Errorf("a row without its parent: %v", err)
	}
}
