package cutproxy_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// rig is a database, with one table, behind a proxy.
type rig struct {
	*cutproxy.Proxy
	url    string // of the server
	proxyd string // of the proxy
}

func newRig(t *testing.T) *rig {
	t.Helper()
	url := pgtest.Server(t).Database(t)
	pgtest.Exec(t, url, "CREATE TABLE receipt (id int PRIMARY KEY)")
	t.Cleanup(func() { goleak.VerifyNone(t) })
	p := cutproxy.New(t, pgtest.Server(t).Addr())
	return &rig{Proxy: p, url: url, proxyd: p.URL(url)}
}

func (r *rig) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), r.proxyd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func (r *rig) rows(t *testing.T) int {
	t.Helper()
	return pgtest.Value[int](t, r.url, "SELECT count(*) FROM receipt")
}

// hit waits until a rule has acted.
func hit(t *testing.T, h *cutproxy.Handle) cutproxy.Frame {
	t.Helper()
	select {
	case f := <-h.Hit():
		return f
	case <-time.After(30 * time.Second):
		t.Fatal("the rule has not acted within 30 s")
		panic("unreachable")
	}
}

func withTimeout(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}
