package pgstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
	"github.com/onceguard/onceguard/storetest"
)

// pgbouncer starts a transaction pooler with two server connections in front of
// the cluster and returns the address; without the program the second value is
// false.
func pgbouncer(t *testing.T, c *pgtest.Cluster) (addr string, found bool) {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		if bin = "/usr/sbin/pgbouncer"; !exists(bin) {
			t.Log("pgbouncer is not installed (apt-get install pgbouncer): the pooler's mode is tested without one")
			return "", false
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	host, port, _ := strings.Cut(addr, ":")
	server, serverPort, _ := strings.Cut(c.Addr(), ":")
	dir := t.TempDir()
	config := filepath.Join(dir, "pgbouncer.ini")
	lines := []string{
		"[databases]", fmt.Sprintf("* = host=%s port=%s user=postgres", server, serverPort),
		"[pgbouncer]", "listen_addr = " + host, "listen_port = " + port, "unix_socket_dir =", "auth_type = any",
		"pool_mode = transaction", "default_pool_size = 2", "max_client_conn = 200", "server_lifetime = 3600",
		"logfile =", "pidfile =", "server_reset_query =",
	}
	if os.Getuid() == 0 {
		lines = append(lines, "user = nobody") // it refuses to run as root
	}
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(bin, "-q", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return addr, true
		}
		if time.Now().After(deadline) {
			t.Fatalf("pgbouncer does not listen: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestConformanceThroughPooler(t *testing.T) {
	c := pgtest.Server(t)
	addr, found := pgbouncer(t, c)
	d := &databases{outer: t, cluster: c}
	o := &pgstore.Options{Pooler: true}
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		direct := d.take(t)
		url := direct
		if found {
			url = strings.Replace(direct, c.Addr(), addr, 1)
		}
		return harnessAt(t, url, direct, o)
	})
}

// Another client of the pooler has left its settings on the server connections
// that the store then works on, and the store leaves none of its own.
func TestPoolerLeaksSettings(t *testing.T) {
	c := pgtest.Server(t)
	addr, ok := pgbouncer(t, c)
	if !ok {
		t.Skip("needs pgbouncer: apt-get install pgbouncer")
	}
	direct := migrated(t, c)
	url := strings.Replace(direct, c.Addr(), addr, 1)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	other, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(ctx)
	for _, sql := range []string{
		"SET synchronous_commit = off", "SET default_transaction_isolation = 'serializable'", "SET lock_timeout = 0",
	} {
		if _, err := other.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	witness(t, direct)
	s := open(t, url, &pgstore.Options{Pooler: true})
	a, b, x := newClaim(t), newClaim(t), newClaim(t, under(onceguard.Transactional))
	mustClaim(t, s, a, onceguard.Granted, onceguard.T1)
	mustSettle(t, s, success(a, 1), onceguard.Settled, onceguard.T7)
	mustClaim(t, s, b, onceguard.Granted, onceguard.T1)
	mustSettle(t, s, onceguard.Settlement{ID: b.ID, Attempt: 1, Owner: b.Owner, Verb: onceguard.SettleReleased}, onceguard.Applied, onceguard.T10)
	got, err := s.Transact(ctx, x, func(context.Context, any) (onceguard.Result, error) { return onceguard.NewResult("x", nil), nil })
	want(t, got, err, onceguard.Settled, onceguard.T11)
	if n := pgtest.Value[int](t, direct, "SELECT count(*)::integer FROM seen"); n != 6 {
		t.Errorf("%d writes were seen, want 6", n)
	}
	if n := pgtest.Value[int](t, direct, "SELECT count(*)::integer FROM seen WHERE level <> 'on' OR isolation <> 'read committed'"); n != 0 {
		t.Errorf("%d writes ran with the settings of another client", n)
	}
	var level string
	if err := other.QueryRow(ctx, "SELECT current_setting('synchronous_commit')").Scan(&level); err != nil || level != "off" {
		t.Errorf("the other client's setting is %q now, %v", level, err)
	}
}

func TestMigrateThroughPooler(t *testing.T) {
	c := pgtest.Server(t)
	addr, ok := pgbouncer(t, c)
	if !ok {
		t.Skip("needs pgbouncer: apt-get install pgbouncer")
	}
	direct := c.Database(t)
	url := strings.Replace(direct, c.Addr(), addr, 1)
	if err := pgstore.Migrate(ctx, url); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.Value[int](t, direct, "SELECT count(*)::integer FROM pg_locks WHERE locktype = 'advisory'"); n != 0 {
		t.Errorf("%d advisory locks stay on the pooler's connections", n)
	}
	s := open(t, url, &pgstore.Options{Pooler: true})
	mustClaim(t, s, newClaim(t), onceguard.Granted, onceguard.T1)
}
