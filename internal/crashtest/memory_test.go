//go:build linux

package crashtest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
	"github.com/onceguard/onceguard/sqlitestore"
)

// The stores of the crash table.
const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

var stores = []string{sqlite, postgres}

// memory is a store that workers share.
type memory struct {
	kind   string
	url    string          // what workers open
	direct string          // past the proxy
	proxy  *cutproxy.Proxy // of postgres, where asked for
	reader onceguard.Store // the test's own
}

// notShort keeps crashes out of short runs, which the race detector uses: it
// could not see into worker processes.
func notShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("crash tests take minutes")
	}
}

// newSQLite makes a store in a file of its own.
func newSQLite(t testing.TB) *memory {
	t.Helper()
	notShort(t)
	m := &memory{kind: sqlite, url: "sqlite:" + filepath.Join(t.TempDir(), "store.db")}
	m.direct = m.url
	m.reader = m.openReader(t)
	return m
}

// newPostgres makes a store in a database of its own.
func newPostgres(t testing.TB, c *pgtest.Cluster) *memory {
	t.Helper()
	notShort(t)
	c.TemplateDatabase(t, "onceguard_crashtest", func(url string) error {
		ctx := context.Background()
		if err := pgstore.Migrate(ctx, url); err != nil {
			return err
		}
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(ctx) }()
		_, err = conn.Exec(ctx, crashtest.EffectTable)
		return err
	})
	m := &memory{kind: postgres, url: c.DatabaseFrom(t, "onceguard_crashtest")}
	m.direct = m.url
	m.reader = m.openReader(t)
	return m
}

// newMemory makes a store of a kind, on the shared server.
func newMemory(t testing.TB, kind string) *memory {
	t.Helper()
	if kind == sqlite {
		return newSQLite(t)
	}
	return newPostgres(t, pgtest.Server(t))
}

// proxied returns m with a proxy between workers and the server.
func (m memory) proxied(t testing.TB) *memory {
	t.Helper()
	_, after, _ := strings.Cut(m.direct, "@")
	host, _, _ := strings.Cut(after, "/")
	m.proxy = cutproxy.New(t, host)
	m.proxy.Add(cutproxy.DropCancels())
	m.url = m.proxy.URL(m.direct)
	return &m
}

func (m *memory) openReader(t testing.TB) onceguard.Store {
	t.Helper()
	var s onceguard.Store
	var err error
	if m.kind == postgres {
		s, err = pgstore.Open(context.Background(), m.direct, &pgstore.Options{MaxConns: 2})
	} else {
		s, err = sqlitestore.Open(context.Background(), strings.TrimPrefix(m.direct, "sqlite:"),
			&sqlitestore.Options{Reserve: -1, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// record reads a request's row; the zero Record where there is none.
func (m *memory) record(t testing.TB, policy, request string) onceguard.Record {
	t.Helper()
	answers, err := m.reader.Get(limit(t), []onceguard.RequestID{requestID(t, policy, request)})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		t.Fatal(err)
	}
	return answers[0].Record
}

// evidence returns the kinds of evidence about a request, each once, in the
// order in which they came.
func (m *memory) evidence(t testing.TB, policy, request string) []string {
	t.Helper()
	list, err := m.reader.Evidence(limit(t), requestID(t, policy, request))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	seen := map[onceguard.EvidenceKind]bool{}
	for _, e := range list {
		if !seen[e.Kind] {
			seen[e.Kind] = true
			kinds = append(kinds, string(e.Kind))
		}
	}
	return kinds
}

// rows counts the transactional effects of op.
func (m *memory) rows(t testing.TB, op string) int {
	t.Helper()
	if m.kind == postgres {
		return int(pgtest.Value[int64](t, m.direct, "SELECT count(*) FROM crashtest_effect WHERE op = $1", op))
	}
	db := m.reader.(*sqlitestore.Store).DB()
	var n int
	if _, err := db.ExecContext(limit(t), crashtest.EffectTable); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRowContext(limit(t), "SELECT count(*) FROM crashtest_effect WHERE op = ?", op).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func requestID(t testing.TB, policy, request string) onceguard.RequestID {
	t.Helper()
	id, err := crashtest.RequestID(policy, request)
	if err != nil {
		t.Fatal(fmt.Errorf("request %s: %w", request, err))
	}
	return id
}
