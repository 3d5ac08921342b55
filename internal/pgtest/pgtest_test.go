package pgtest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard/internal/pgtest"
)

// childVariable makes a second run of this test binary start a server and wait
// to be killed.
const childVariable = "ONCEGUARD_PGTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(m.Run()) // the child in TestNothingIsLeftOver must not clean up politely
	}
	os.Exit(pgtest.Main(m))
}

func TestServerIsSharedAndDurable(t *testing.T) {
	c := pgtest.Server(t)
	if c != pgtest.Server(t) {
		t.Error("a second call gave another server")
	}
	url := c.URL("postgres")
	for name, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"} {
		if got := pgtest.Value[string](t, url, "SELECT current_setting($1)", name); got != want {
			t.Errorf("%s = %s, want %s", name, got, want)
		}
	}
	if got := pgtest.Value[int](t, url, "SELECT current_setting('server_version_num')::int / 10000"); got != c.Version() {
		t.Errorf("the server says version %d, Version says %d", got, c.Version())
	}
}

func TestDatabasesAreSeparate(t *testing.T) {
	c := pgtest.Server(t)
	var first string
	t.Run("one", func(t *testing.T) {
		first = c.Database(t)
		pgtest.Exec(t, first, "CREATE TABLE only_here (id int)")
		second := c.Database(t)
		if n := pgtest.Value[int](t, second, "SELECT count(*) FROM pg_class WHERE relname = 'only_here'"); n != 0 {
			t.Error("the second database has the table of the first")
		}
		// A client that forgets to disconnect must not keep the database alive.
		conn, err := pgx.Connect(context.Background(), first)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
	})
	name := first[strings.LastIndex(first, "/")+1 : strings.Index(first, "?")]
	if n := pgtest.Value[int](t, c.URL("postgres"), "SELECT count(*) FROM pg_database WHERE datname = $1", name); n != 0 {
		t.Errorf("database %s is still there after its test", name)
	}
}

func TestTemplateDatabaseIsPreparedOnce(t *testing.T) {
	c := pgtest.Server(t)
	calls := 0
	prepare := func(url string) error {
		calls++
		pgtest.Exec(t, url, "CREATE TABLE prepared AS SELECT 42 AS answer")
		return nil
	}
	for range 2 {
		c.TemplateDatabase(t, "prepared_once", prepare)
		url := c.DatabaseFrom(t, "prepared_once")
		if got := pgtest.Value[int](t, url, "SELECT answer FROM prepared"); got != 42 {
			t.Errorf("answer = %d, want 42", got)
		}
	}
	if calls != 1 {
		t.Errorf("prepared %d times, want once", calls)
	}
}

func TestTemplateDatabaseRemembersItsFailure(t *testing.T) {
	c := pgtest.Server(t)
	for range 2 {
		probe := &probe{TB: t}
		probe.run(func() {
			c.TemplateDatabase(probe, "never_prepared", func(string) error { return errors.New("migration 7 broke") })
		})
		if !strings.Contains(probe.fatal, "migration 7 broke") {
			t.Errorf("fatal = %q, want it to name the failure", probe.fatal)
		}
	}
}

func TestKillAndRestart(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	url := c.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE effect (id int)")
	pgtest.Exec(t, url, "INSERT INTO effect VALUES (1)")

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "BEGIN; INSERT INTO effect VALUES (2)"); err != nil {
		t.Fatal(err)
	}
	addr := c.Addr()
	c.Kill(t)
	if c.Running() {
		t.Error("Running after Kill")
	}
	if _, err := conn.Exec(ctx, "COMMIT"); err == nil {
		t.Error("a backend answered after Kill")
	}
	if _, err := pgx.Connect(ctx, url); err == nil {
		t.Error("the server accepts connections after Kill")
	}
	c.Restart(t)
	if c.Addr() != addr {
		t.Errorf("address after restart = %s, want %s", c.Addr(), addr)
	}
	if got := pgtest.Value[int](t, url, "SELECT sum(id) FROM effect"); got != 1 {
		t.Errorf("sum after crash recovery = %d, want 1: the committed row and not the other", got)
	}
}

// TestKillDoesNotFlush shows that Kill is a crash and not a shutdown: a commit
// that did not wait for the disk is lost.
func TestKillDoesNotFlush(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{Settings: map[string]string{
		"wal_writer_delay": "10s", // the background flush must not save the row
		"autovacuum":       "off",
	}})
	url := c.Database(t)
	pgtest.Exec(t, url, "CREATE TABLE effect (id int)")
	pgtest.Exec(t, url, "SET synchronous_commit = off; INSERT INTO effect VALUES (1)")
	c.Kill(t)
	c.Restart(t)
	if got := pgtest.Value[int](t, url, "SELECT count(*) FROM effect"); got != 0 {
		t.Errorf("%d rows survived, want none: Kill let the server write", got)
	}
}

func TestStopModes(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	for name, mode := range map[string]pgtest.Mode{"smart": pgtest.Smart, "fast": pgtest.Fast, "immediate": pgtest.Immediate} {
		t.Run(name, func(t *testing.T) {
			c.Stop(t, mode)
			if c.Running() {
				t.Error("Running after Stop")
			}
			c.Restart(t)
			pgtest.Exec(t, c.URL("postgres"), "SELECT 1")
		})
	}
	c.Restart(t) // a running server, too
	pgtest.Exec(t, c.URL("postgres"), "SELECT 1")
}

func TestPauseAndResume(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	c.Pause(t)
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT 1")
		answer <- err
	}()
	select {
	case err := <-answer:
		t.Errorf("a paused server answered (%v)", err)
	case <-time.After(200 * time.Millisecond): // silence has no event
	}
	c.Resume(t)
	if err := <-answer; err != nil {
		t.Errorf("after Resume: %v", err)
	}
	c.Pause(t)
	c.Kill(t)
	c.Restart(t)
	c.Pause(t) // and cleanup takes a paused server down
}

func TestStandbyAndPromote(t *testing.T) {
	primary := pgtest.Start(t, pgtest.Options{})
	pgtest.Exec(t, primary.URL("postgres"), "CREATE TABLE receipt (id int)")
	standby := pgtest.Start(t, pgtest.Options{Name: "second", StandbyOf: primary})
	primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'second'")
	primary.Exec(t, "SELECT pg_reload_conf()")
	pgtest.WaitFor(t, primary.URL("postgres"), "SELECT count(*) = 1 FROM pg_stat_replication WHERE application_name = 'second' AND sync_state = 'sync'")
	pgtest.Exec(t, primary.URL("postgres"), "SET synchronous_commit = remote_apply; INSERT INTO receipt VALUES (1)")

	url := standby.URL("postgres")
	if got := pgtest.Value[int](t, url, "SELECT count(*) FROM receipt"); got != 1 {
		t.Errorf("the standby has %d rows, want 1", got)
	}
	if !pgtest.Value[bool](t, url, "SELECT pg_is_in_recovery()") {
		t.Error("the standby is not in recovery")
	}
	primary.Kill(t)
	standby.Promote(t)
	pgtest.Exec(t, url, "SET synchronous_commit = local; INSERT INTO receipt VALUES (2)")
	if got := pgtest.Value[string](t, url, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"); got != "00000002" {
		t.Errorf("timeline %s after promotion, want 00000002", got)
	}
}

func TestCopyIsARestoredBackup(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{})
	pgtest.Exec(t, c.URL("postgres"), "CREATE TABLE receipt AS SELECT 1 AS id")
	old := pgtest.Start(t, pgtest.Options{CopyOf: c})
	pgtest.Exec(t, c.URL("postgres"), "INSERT INTO receipt VALUES (2)")
	const system = "SELECT system_identifier::text FROM pg_control_system()"
	if diff := cmp.Diff(pgtest.Value[string](t, c.URL("postgres"), system), pgtest.Value[string](t, old.URL("postgres"), system)); diff != "" {
		t.Errorf("system identifier (-original +copy):\n%s", diff)
	}
	if got := pgtest.Value[int](t, old.URL("postgres"), "SELECT count(*) FROM receipt"); got != 1 {
		t.Errorf("the copy has %d rows, want the 1 of its backup", got)
	}
	pgtest.Exec(t, old.URL("postgres"), "INSERT INTO receipt VALUES (3)")
}

func TestSettingsAndEnv(t *testing.T) {
	c := pgtest.Start(t, pgtest.Options{
		Name:     "it's named",
		Settings: map[string]string{"lock_timeout": "1234ms"},
		Env:      []string{"TZ=Asia/Tokyo"},
	})
	url := c.URL("postgres")
	for name, want := range map[string]string{"lock_timeout": "1234ms", "cluster_name": "it's named"} {
		if got := pgtest.Value[string](t, url, "SELECT current_setting($1)", name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	pgtest.Exec(t, url, "CREATE TEMP TABLE env (line text); COPY env FROM PROGRAM 'echo $TZ'; DO $$ BEGIN ASSERT (SELECT line FROM env) = 'Asia/Tokyo'; END $$")
}

func TestStartIsQuick(t *testing.T) {
	start := time.Now()
	pgtest.Start(t, pgtest.Options{})
	t.Logf("initdb, start and first answer: %v", time.Since(start).Round(time.Millisecond))
}
