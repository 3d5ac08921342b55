package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

func transactional(t testing.TB) onceguard.Claim { return newClaim(t, under(onceguard.Transactional)) }

func rows(t *testing.T, url string) int {
	t.Helper()
	return pgtest.Value[int](t, url, "SELECT count(*)::integer FROM app_row")
}

func insertRow(ctx context.Context, tx any, name string) (onceguard.Result, error) {
	_, err := tx.(pgx.Tx).Exec(ctx, "INSERT INTO app_row (name, value) VALUES ($1, '1')", name)
	return onceguard.NewResult("x", []byte(`1`)), err
}

func TestTransactEndsOnlyThroughTheStore(t *testing.T) {
	c := pgtest.Server(t)
	for name, end := range map[string]func(context.Context, pgx.Tx) error{
		"Commit":       func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		"Rollback":     func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
		"SQL commit":   func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "COMMIT"); return err },
		"SQL rollback": func(ctx context.Context, tx pgx.Tx) error { _, err := tx.Exec(ctx, "ROLLBACK"); return err },
		"another begun": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "COMMIT; BEGIN")
			return err
		},
		"a swallowed error": func(ctx context.Context, tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT 1/0"); err == nil {
				return errors.New("no error")
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := migrated(t, c)
			s := open(t, url, nil)
			_, err := s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
				if err := end(ctx, tx.(pgx.Tx)); err != nil {
					return onceguard.Result{}, fmt.Errorf("refused: %w", err)
				}
				return onceguard.Result{}, nil
			})
			if err == nil {
				t.Fatal("it was answered as a success")
			}
			refused := strings.HasPrefix(err.Error(), "refused")
			if want := name == "Commit" || name == "Rollback"; refused != want {
				t.Errorf("refused inside: %t, want %t: %v", refused, want, err)
			}
			if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM onceguard_receipt WHERE state <> 1"); n != 0 {
				t.Errorf("%d receipts", n)
			}
			// The connection is fit for use, or gone.
			mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
		})
	}
}

func TestTransactLeavesNoTrace(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, &pgstore.Options{MaxConns: 2})
	mine := errors.New("mine")
	_, err := s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
		insertRow(ctx, tx, "a")
		return onceguard.Result{}, mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("the function's error came back as %v", err)
	}
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic did not go on")
			}
		}()
		s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
			insertRow(ctx, tx, "b")
			panic("boom")
		})
	}()
	nested := transactional(t)
	_, err = s.Transact(ctx, nested, func(ctx context.Context, tx any) (onceguard.Result, error) {
		_, err := s.Claim(ctx, []onceguard.Claim{another(nested)})
		storeError(t, err, true, true)
		_, err = s.Transact(ctx, transactional(t), nil)
		return onceguard.Result{}, err
	})
	storeError(t, err, true, true)
	if n := rows(t, url); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM onceguard_receipt"); n != 0 {
		t.Errorf("%d receipts are left", n)
	}
}

func TestTransactTriesAgain(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, nil)
	for _, code := range []string{"40001", "40P01"} {
		calls := 0
		a, err := s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
			calls++
			r, err := insertRow(ctx, tx, code)
			if calls < 3 {
				_, err = tx.(pgx.Tx).Exec(ctx, "DO $$ BEGIN RAISE SQLSTATE '"+code+"'; END $$")
			}
			return r, err
		})
		want(t, a, err, onceguard.Settled, onceguard.T11)
		if calls != 3 {
			t.Errorf("%s: the function ran %d times, want 3", code, calls)
		}
	}
	calls := 0
	_, err := s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
		calls++
		_, err := tx.(pgx.Tx).Exec(ctx, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
		return onceguard.Result{}, err
	})
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != "40001" || calls < 2 || calls > 20 {
		t.Errorf("after %d calls: %v", calls, err)
	}
	if n := rows(t, url); n != 2 {
		t.Errorf("%d rows, want 2", n)
	}
}

// What a function does to its session must not reach the receipt, nor the next
// call on the connection.
func TestTransactSettings(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	pgtest.Exec(t, url, "DROP ROLE IF EXISTS app; CREATE ROLE app; CREATE SCHEMA app")
	witness(t, url)
	s := open(t, url, &pgstore.Options{MaxConns: 2})
	var session, scan string
	a, err := s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
		q := tx.(pgx.Tx)
		if err := q.QueryRow(ctx, "SELECT current_setting('transaction_isolation'), current_setting('enable_seqscan')").Scan(&session, &scan); err != nil {
			return onceguard.Result{}, err
		}
		for _, sql := range []string{
			"SET synchronous_commit = off", "SET lock_timeout = 0", "SET LOCAL search_path = app", "SET LOCAL ROLE app",
		} {
			if _, err := q.Exec(ctx, sql); err != nil {
				return onceguard.Result{}, err
			}
		}
		return onceguard.NewResult("x", []byte("1")), nil
	})
	want(t, a, err, onceguard.Settled, onceguard.T11)
	if session != "read committed" || scan != "on" {
		t.Errorf("the function ran with isolation %s and enable_seqscan %s", session, scan)
	}
	for range 5 {
		mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
		_, err = s.Transact(ctx, transactional(t), func(ctx context.Context, tx any) (onceguard.Result, error) {
			var level, lock string
			err := tx.(pgx.Tx).QueryRow(ctx, "SELECT current_setting('synchronous_commit'), current_setting('lock_timeout')").Scan(&level, &lock)
			if level != "on" || lock != "2s" {
				t.Errorf("the next call runs with synchronous_commit %s, lock_timeout %s", level, lock)
			}
			return onceguard.Result{}, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM seen WHERE level <> 'on' OR isolation <> 'read committed'"); n != 0 {
		t.Errorf("%d writes of the store ran with what the function had set", n)
	}
	if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'onceguard'"); n > 2 {
		t.Errorf("%d connections of 2", n)
	}
}

func TestTransactRace(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, nil)
	first := transactional(t)
	var group sync.WaitGroup
	var mu sync.Mutex
	calls := 0
	for range 32 {
		group.Go(func() {
			cl := another(first)
			a, err := s.Transact(ctx, cl, func(ctx context.Context, tx any) (onceguard.Result, error) {
				mu.Lock()
				calls++
				mu.Unlock()
				return insertRow(ctx, tx, "once")
			})
			if err != nil || a.Outcome != onceguard.Settled || string(a.Record.Result.Body) != "1" {
				t.Errorf("answered %s, %v", a.Outcome, err)
			}
		})
	}
	group.Wait()
	if calls != 1 || rows(t, url) != 1 {
		t.Errorf("the function ran %d times and left %d rows, want 1 and 1", calls, rows(t, url))
	}
}
