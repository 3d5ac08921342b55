package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

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
	g, err := onceguard.New(t.Context(), memstore.New(memstore.Options{}), onceguard.Options{})
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
