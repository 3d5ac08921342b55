package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/memstore"
)

func post(t *testing.T, h http.Handler, path, key string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader("{}"))
	r.Host = "localhost"
	r.Header.Set("Idempotency-Key", key)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestClaimWonWhileDraining: a request that was let in before the drain began,
// and got its claim after, is not forwarded, and its key stays free.
func TestClaimWonWhileDraining(t *testing.T) {
	reached := make(chan struct{}, 2)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- struct{}{} }))
	defer srv.Close()
	base, err := parseTarget(srv.URL, false)
	if err != nil {
		t.Fatal(err)
	}
	g, err := onceguard.New(t.Context(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close(context.Background()) }()
	draining := &atomic.Bool{}
	m, err := httpguard.New(g, httpguard.Options{Action: "a", Scope: httpguard.SingleTenant})
	if err != nil {
		t.Fatal(err)
	}
	h := m.Wrap(&forwarder{upstream: &Upstream{base: base}, route: &Route{}, draining: draining})
	draining.Store(true)
	if w := post(t, h, "/", "k"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), problemDraining) || len(reached) != 0 {
		t.Errorf("answer %d %s, %d requests reached the upstream", w.Code, w.Body, len(reached))
	}
	draining.Store(false)
	if w := post(t, h, "/", "k"); w.Code != http.StatusOK || w.Header().Get("Idempotent-Replayed") != "" || len(reached) != 1 {
		t.Errorf("answer %d %s, %d requests reached the upstream", w.Code, w.Body, len(reached))
	}
}

// TestDrain: new writes are refused, reads go on, and effects whose callers have
// gone are waited for.
func TestDrain(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrived <- struct{}{}
			<-release
		}
	}))
	defer srv.Close()
	c, err := Parse([]byte("upstreams: [{name: a, prefix: /a, base_url: '" + srv.URL + "', unmatched_writes: refuse, routes: [{methods: [POST], path: /x, action: a, key: [{header: Idempotency-Key}]}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	store := memstore.New(memstore.Options{})
	g, err := onceguard.New(t.Context(), store, onceguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = g.Close(context.Background()) }()
	p, err := New(g, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	caller, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		r := httptest.NewRequestWithContext(caller, http.MethodPost, "/a/x", strings.NewReader("{}"))
		r.Host = "localhost"
		r.Header.Set("Idempotency-Key", "k")
		p.ServeHTTP(httptest.NewRecorder(), r)
	}()
	<-arrived
	leave()
	<-left
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Drain(over); err == nil || !strings.Contains(err.Error(), "may have happened") {
		t.Errorf("a drain that could not wait says %v", err)
	}
	if w := post(t, p, "/a/x", "other"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), problemDraining) {
		t.Errorf("a new write got %d %s", w.Code, w.Body)
	}
	if got := stateOf(t, store, "other"); got != onceguard.Absent {
		t.Errorf("the new write was claimed: %s", got)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/a/x", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	if p.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("a read got %d %s", w.Code, w.Body)
	}
	close(release)
	if err := p.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// stateOf is the state of key's record under the action a.
func stateOf(t *testing.T, store onceguard.Store, key string) onceguard.State {
	t.Helper()
	id, err := onceguard.NewRequestID("default", "a", onceguard.RawKey(key))
	if err != nil {
		t.Fatal(err)
	}
	answers, err := store.Get(context.WithoutCancel(t.Context()), []onceguard.RequestID{id})
	if err != nil || answers[0].Err != nil {
		t.Fatal(err, answers)
	}
	return answers[0].Record.State
}

// lines gives the lines of a log as they are written.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// TestServeWaitsForTheAbandoned: the caller has gone, so no connection keeps the
// server; the effect still does, and its outcome is stored before Serve returns.
func TestServeWaitsForTheAbandoned(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer srv.Close()
	c, err := Parse([]byte("upstreams: [{name: a, prefix: /a, base_url: '" + srv.URL + "', unmatched_writes: refuse, routes: [{methods: [POST], path: /x, action: a, key: [{header: Idempotency-Key}]}]}]"))
	if err != nil {
		t.Fatal(err)
	}
	store := memstore.New(memstore.Options{})
	g, err := onceguard.New(t.Context(), store, onceguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := make(lines, 100)
	p, err := New(g, c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, terminate := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, ln, time.Minute) }()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("POST /a/x HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-arrived
	_ = conn.Close()
	for line := range log {
		if strings.Contains(line, "did=guarded") && strings.Contains(line, "status=0") {
			break
		}
	}
	terminate()
	for {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	select {
	case err := <-served:
		t.Errorf("Serve returned %v while an effect was running", err)
	default:
		close(release)
		if err := <-served; err != nil {
			t.Error(err)
		}
		if got := stateOf(t, store, "k"); got != onceguard.Succeeded {
			t.Errorf("the record is %s", got)
		}
		return
	}
	close(release)
}
