package proxy

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// TestSlowBody: a body that does not come ends the request.
func TestSlowBody(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(hurried(&seen{ResponseWriter: w}, r, time.Millisecond).Body); err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer srv.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("%v %v", resp, err)
	}
}

// deadlines records what is set on the connection.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

// SetReadDeadline is for http.ResponseController.
func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// TestBodyTimeEndsWithTheBody: the bound must not cut the wait for the upstream.
func TestBodyTimeEndsWithTheBody(t *testing.T) {
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("hello"))
	got, err := io.ReadAll(hurried(d, r, time.Minute).Body)
	if err != nil || string(got) != "hello" {
		t.Fatalf("%q %v", got, err)
	}
	if len(d.set) < 2 || d.set[0].IsZero() || !d.set[len(d.set)-1].IsZero() {
		t.Errorf("deadlines %v, want one and then none", d.set)
	}
	d.set = nil
	empty := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
	if hurried(d, empty, time.Minute); len(d.set) != 0 {
		t.Errorf("a request without a body got the deadlines %v", d.set)
	}
}

// TestGuardedBodiesAreHurried: the handler of guarded requests sets the bound.
func TestGuardedBodiesAreHurried(t *testing.T) {
	c, err := Parse([]byte("upstreams: [{name: a, prefix: /a, base_url: 'http://127.0.0.1:1', unmatched_writes: refuse, routes: [{methods: [POST], path: /x, action: a, key: [{name: k, json: /k}]}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy(t, c)
	d := &deadlines{ResponseWriter: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/a/x", strings.NewReader("{}"))
	r.Host = "localhost"
	p.ServeHTTP(d, r)
	if len(d.set) < 2 || !d.set[len(d.set)-1].IsZero() {
		t.Errorf("deadlines %v, want one and then none", d.set)
	}
}

func newProxy(t *testing.T, c *Config) *Proxy {
	t.Helper()
	g, err := onceguard.New(t.Context(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	p, err := New(g, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
