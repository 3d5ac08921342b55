package pgstore_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
	"github.com/onceguard/onceguard/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// migrated gives a database with the schema and a table for the caller's rows.
func migrated(t testing.TB, c *pgtest.Cluster) (url string) {
	t.Helper()
	c.TemplateDatabase(t, "onceguard_template", func(url string) error {
		if err := pgstore.Migrate(context.Background(), url); err != nil {
			return err
		}
		conn, err := pgx.Connect(context.Background(), url)
		if err != nil {
			return err
		}
		_, err = conn.Exec(context.Background(), "CREATE TABLE app_row (name text PRIMARY KEY, value text NOT NULL)")
		return errors.Join(err, conn.Close(context.Background()))
	})
	return c.DatabaseFrom(t, "onceguard_template")
}

func open(t testing.TB, url string, o *pgstore.Options) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// harnessAt opens the store of a database, which tests reach by direct. Its
// failover is a change of the epoch alone; other tests have a real one.
func harnessAt(t testing.TB, url, direct string, o *pgstore.Options) storetest.Harness {
	s := open(t, url, o)
	return storetest.Harness{
		Store: s,
		Reopen: func(t *testing.T) onceguard.Store {
			s.Close()
			return open(t, url, o)
		},
		Second: func(t *testing.T) onceguard.Store { return open(t, url, o) },
		Failover: func(t *testing.T) {
			pgtest.Exec(t, direct, "UPDATE onceguard_store SET restores = restores + 1")
		},
		WriteRow: func(ctx context.Context, tx any, name, value string) error {
			_, err := tx.(pgx.Tx).Exec(ctx, "INSERT INTO app_row (name, value) VALUES ($1, $2)", name, value)
			return err
		},
		ReadRow: func(t *testing.T, name string) (string, bool) {
			v := pgtest.Value[*string](t, direct, "SELECT (SELECT value FROM app_row WHERE name = $1)", name)
			if v == nil {
				return "", false
			}
			return *v, true
		},
	}
}

// databases gives stores in which nothing ever happened. They are used again
// when a case is over: a new one for each case would cost more than the case.
type databases struct {
	outer   *testing.T
	cluster *pgtest.Cluster
	free    []string
}

func (d *databases) take(t *testing.T) (url string) {
	t.Helper()
	if n := len(d.free); n > 0 {
		url, d.free = d.free[n-1], d.free[:n-1]
	} else {
		url = migrated(d.outer, d.cluster)
	}
	pgtest.Exec(t, url, `TRUNCATE onceguard_receipt, onceguard_evidence, onceguard_secret, app_row;
		UPDATE onceguard_store SET store_id = gen_random_uuid()::text, epoch = '', restores = 0, synchronous = false`)
	t.Cleanup(func() { d.free = append(d.free, url) })
	return url
}

func TestConformance(t *testing.T) {
	d := &databases{outer: t, cluster: pgtest.Server(t)}
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		url := d.take(t)
		// The store's clock, with a jump that tests may change.
		pgtest.Exec(t, url, `CREATE SCHEMA IF NOT EXISTS warp;
			CREATE TABLE IF NOT EXISTS warp.jump (by interval NOT NULL);
			CREATE OR REPLACE FUNCTION warp.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
				AS 'SELECT pg_catalog.clock_timestamp() + by FROM warp.jump';
			TRUNCATE warp.jump; INSERT INTO warp.jump VALUES ('0')`)
		h := harnessAt(t, url+"&search_path=warp,public,pg_catalog", url, nil)
		clock, err := pgx.Connect(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { clock.Close(context.Background()) })
		h.AdvanceClock = func(d time.Duration) {
			_, err := clock.Exec(context.Background(), "UPDATE warp.jump SET by = by + $1::bigint * interval '1 microsecond'", d.Microseconds())
			if err != nil {
				t.Error(err)
			}
		}
		return h
	})
}
