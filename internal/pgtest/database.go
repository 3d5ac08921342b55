package pgtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

type templateDatabase struct {
	once sync.Once
	err  error
}

// Database creates an empty database for this test and returns its URL. It is
// dropped at cleanup, whoever is still connected.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	return c.DatabaseFrom(t, "template1")
}

// TemplateDatabase prepares a database once per cluster, for [Cluster.DatabaseFrom]
// to copy: migrations run once instead of once per test. The name is an
// identifier in lower case. A later call with the same name does nothing but
// wait for the first, and fails if that failed. prepare closes its connections.
func (c *Cluster) TemplateDatabase(t testing.TB, name string, prepare func(url string) error) {
	t.Helper()
	c.mu.Lock()
	entry := c.templates[name]
	if entry == nil {
		entry = new(templateDatabase)
		c.templates[name] = entry
	}
	c.mu.Unlock()
	entry.once.Do(func() {
		// A panic or t.Fatal inside prepare must not look like success to the next test.
		entry.err = fmt.Errorf("an earlier test did not get through it")
		entry.err = c.prepareTemplate(name, prepare)
	})
	if entry.err != nil {
		t.Fatalf("pgtest: prepare template database %s: %v", name, entry.err)
	}
}

func (c *Cluster) prepareTemplate(name string, prepare func(url string) error) error {
	ident := pgx.Identifier{name}.Sanitize()
	if err := exec1(c.URL("postgres"), "CREATE DATABASE "+ident); err != nil {
		return err
	}
	if err := prepare(c.URL(name)); err != nil {
		return err
	}
	// A connection left open would make every copy fail.
	if err := exec1(c.URL("postgres"), "ALTER DATABASE "+ident+" ALLOW_CONNECTIONS false"); err != nil {
		return err
	}
	return exec1(c.URL("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
}

// DatabaseFrom is [Cluster.Database] with the contents of a template database.
func (c *Cluster) DatabaseFrom(t testing.TB, template string) string {
	t.Helper()
	name := databaseName(t.Name(), c.dbCount.Add(1))
	ident := pgx.Identifier{name}.Sanitize()
	c.Exec(t, "CREATE DATABASE "+ident+" TEMPLATE "+pgx.Identifier{template}.Sanitize())
	t.Cleanup(func() {
		if !c.Running() {
			return // it goes with the cluster
		}
		if err := exec1(c.URL("postgres"), "DROP DATABASE IF EXISTS "+ident+" WITH (FORCE)"); err != nil {
			t.Logf("pgtest: database %s stays until the server goes: %v", name, err)
		}
	})
	return c.URL(name)
}

// databaseName makes an identifier that a person finds again in the server's log.
func databaseName(test string, n int64) string {
	var b strings.Builder
	for _, r := range strings.ToLower(test) {
		if b.Len() == 40 {
			break
		}
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			r = '_'
		}
		b.WriteRune(r)
	}
	return fmt.Sprintf("%s_%d", b.String(), n)
}

// Running reports whether the server's process is there. A paused server is.
func (c *Cluster) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc != nil && !c.proc.exited()
}

func exec1(url, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), queryLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql, args...)
	if cerr := conn.Close(ctx); err == nil {
		err = cerr
	}
	return err
}
