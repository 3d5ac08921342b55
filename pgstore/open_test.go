package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

func TestSchemaIsChecked(t *testing.T) {
	c := pgtest.Server(t)
	check := func(t *testing.T, url, says string) {
		t.Helper()
		_, err := pgstore.Open(ctx, url, nil)
		if se := storeError(t, err, true, true); !strings.Contains(se.Error(), says) {
			t.Errorf("error does not say %q: %v", says, se)
		}
	}
	const command = "onceguard store migrate --store URL"
	t.Run("missing", func(t *testing.T) { check(t, c.Database(t), command) })
	t.Run("older", func(t *testing.T) {
		url := migrated(t, c)
		pgtest.Exec(t, url, "UPDATE onceguard_schema SET version_id = 0")
		check(t, url, command)
	})
	t.Run("newer that still serves old programs", func(t *testing.T) {
		url := migrated(t, c)
		pgtest.Exec(t, url, "INSERT INTO onceguard_schema (version_id, is_applied) VALUES (7, true)")
		s := open(t, url, nil)
		if info, err := s.Info(ctx); err != nil || info.Schema != 7 {
			t.Errorf("info %+v, %v", info, err)
		}
	})
	t.Run("too new", func(t *testing.T) {
		url := migrated(t, c)
		pgtest.Exec(t, url, "UPDATE onceguard_store SET min_version = 7")
		check(t, url, "use a newer one")
	})
	t.Run("too new while it runs", func(t *testing.T) {
		url := migrated(t, c)
		s := open(t, url, nil)
		mine, done := newClaim(t), newClaim(t)
		mustClaim(t, s, mine, onceguard.Granted, onceguard.T1)
		mustClaim(t, s, done, onceguard.Granted, onceguard.T1)
		mustSettle(t, s, success(done, 1), onceguard.Settled, onceguard.T7)
		pgtest.Exec(t, url, "UPDATE onceguard_store SET min_version = 7")
		_, err := claim1(s, newClaim(t))
		storeError(t, err, true, true)
		_, err = claim1(s, another(done))
		storeError(t, err, true, true)
		_, err = s.Get(ctx, []onceguard.RequestID{done.ID})
		storeError(t, err, true, true)
		// What is running may still be recorded.
		mustSettle(t, s, success(mine, 1), onceguard.Settled, onceguard.T7)
	})
	t.Run("AutoMigrate", func(t *testing.T) {
		s := open(t, c.Database(t), &pgstore.Options{AutoMigrate: true})
		mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
	})
	t.Run("in a schema of its own", func(t *testing.T) {
		url := c.Database(t)
		pgtest.Exec(t, url, "CREATE SCHEMA guard")
		url += "&search_path=guard"
		if err := pgstore.Migrate(ctx, url); err != nil {
			t.Fatal(err)
		}
		mustClaim(t, open(t, url, nil), newClaim(t), onceguard.Granted, onceguard.T1)
		if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM guard.onceguard_receipt"); n != 1 {
			t.Errorf("%d rows in the schema", n)
		}
	})
}

func TestMigrateTwiceAtOnce(t *testing.T) {
	url := pgtest.Server(t).Database(t)
	errs := make([]error, 4)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() { errs[i] = pgstore.Migrate(ctx, url) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM onceguard_store"); n != 1 {
		t.Errorf("%d store identities", n)
	}
	if n := pgtest.Value[int](t, url, "SELECT count(*)::integer FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); n != 0 {
		t.Errorf("%d advisory locks are left over", n)
	}
	s := open(t, url, nil)
	mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
	if err := pgstore.Migrate(ctx, url); err != nil {
		t.Errorf("once more, in use: %v", err)
	}
}

func TestPrintMigrations(t *testing.T) {
	var b bytes.Buffer
	if err := pgstore.PrintMigrations(&b); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"0001_init.sql", "CREATE TABLE onceguard_receipt", "lock_timeout", "min_version"} {
		if !strings.Contains(b.String(), text) {
			t.Errorf("the print lacks %q", text)
		}
	}
}

func TestPasswordIsNeverShown(t *testing.T) {
	const secret = "hunter2"
	for _, url := range []string{
		"postgres://u:" + secret + "@127.0.0.1:1/db",
		"postgres://u:" + secret + "@127.0.0.1:1/db?sslmode=perhaps",
		"postgres://u:" + secret + "@[::1/db",
		"postgres://u:" + secret + "@host:port/db",
		"postgres://u:%zz" + secret + "@host/db",
		"host=127.0.0.1 port=1 password=" + secret + " sslmode=disable",
		"host=127.0.0.1 port=x password=" + secret,
		"password='" + secret,
	} {
		short, cancel := context.WithTimeout(ctx, 20*time.Second)
		_, err := pgstore.Open(short, url, nil)
		cancel()
		if err == nil {
			t.Fatalf("%s was opened", url)
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows the password: %v", err)
		}
		if err := pgstore.Migrate(ctx, url); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("Migrate: %v", err)
		}
	}
	c := pgtest.Server(t)
	url := migrated(t, c)
	with := strings.Replace(url, "postgres@", "postgres:"+secret+"@", 1)
	if with == url {
		t.Fatalf("no user in %s", url)
	}
	info, err := open(t, with, nil).Info(ctx)
	if err != nil || strings.Contains(info.Name, secret) || !strings.HasPrefix(info.Name, "postgres://") {
		t.Errorf("name %q, %v", info.Name, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]pgstore.Options{
		"one connection":   {MaxConns: 1},
		"negative":         {MaxConns: -3},
		"lock over call":   {LockTimeout: time.Minute, Timeout: time.Second},
		"tiny":             {Timeout: time.Microsecond},
		"failover":         {OnFailover: 9},
		"no epoch to keep": {NoEpoch: true, OnFailover: pgstore.Continue},
	} {
		_, err := pgstore.Open(ctx, "postgres://127.0.0.1:1/x", &o)
		if se := storeError(t, err, true, true); !strings.Contains(se.Error(), "Options") {
			t.Errorf("%s: %v", name, se)
		}
	}
}

func TestServerIsAway(t *testing.T) {
	_, err := pgstore.Open(ctx, "postgres://u@127.0.0.1:1/db?sslmode=disable", nil)
	storeError(t, err, true, false) // it may come back
}
