package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/proxy"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/sqlitestore"
)

// world is a proxy with an upstream that counts what reaches it.
type world struct {
	t     *testing.T
	url   string // of the proxy
	up    *httptest.Server
	proxy *proxy.Proxy
	log   *syncBuffer
	guard *onceguard.Guard

	mu     sync.Mutex
	got    []*http.Request // with bodies in place of Body
	bodies []string
}

// syncBuffer is a log that handlers write while the test reads.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// refunds is the route of most tests.
const refunds = `
      - methods: [POST]
        path: /v1/refunds
        action: refund.create
        key: [{header: Idempotency-Key}]
        downstream_key_header: X-Provider-Key
        not_executed_on: [401, 429]
        succeeded_on: [303]
        wait: 20s
        max_body: 1KiB
`

// newWorld serves an upstream and a proxy with one upstream entry; more are its
// further lines, then routes.
func newWorld(t *testing.T, store onceguard.Store, more, routes string, handler http.HandlerFunc) *world {
	t.Helper()
	w := &world{t: t, log: &syncBuffer{}}
	w.up = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.got, w.bodies = append(w.got, r), append(w.bodies, string(body))
		w.mu.Unlock()
		handler(rw, r)
	}))
	t.Cleanup(w.up.Close)
	if store == nil {
		store = memstore.New(memstore.Options{})
	}
	c, err := proxy.Parse([]byte(configText(w.up.URL, more, routes)))
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(w.log, nil))
	w.guard, err = onceguard.New(t.Context(), store, onceguard.Options{Observer: onceguard.SlogObserver(logger)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.guard.Close(context.Background()) })
	if w.proxy, err = proxy.New(w.guard, c, logger); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(w.proxy)
	srv.Config.DisableGeneralOptionsHandler = true
	srv.Start()
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

func configText(base, more, routes string) string {
	if !strings.Contains(more, "unmatched_writes") {
		more = "unmatched_writes: refuse\n    " + more
	}
	return fmt.Sprintf("upstreams:\n  - name: pay\n    prefix: /pay\n    base_url: %s/api\n    %s\n    routes:%s", base, more, routes)
}

func sqlite(t *testing.T) (onceguard.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "receipts.db")
	s, err := sqlitestore.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, path
}

// logs waits until the log holds text: the answer may be there before its line.
func (w *world) logs(text string) {
	w.t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(w.log.String(), text); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("the log never says %q:\n%s", text, w.log)
		}
	}
}

// reached is how many requests the upstream got.
func (w *world) reached() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.got)
}

// last is the latest request that reached the upstream.
func (w *world) last() (*http.Request, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.got) == 0 {
		w.t.Fatal("nothing reached the upstream")
	}
	return w.got[len(w.got)-1], w.bodies[len(w.bodies)-1]
}

func (w *world) want(n int) {
	w.t.Helper()
	if got := w.reached(); got != n {
		w.t.Errorf("%d requests reached the upstream, want %d", got, n)
	}
}

func (w *world) post(body string, headers ...string) reply {
	w.t.Helper()
	return ask(w.t, "POST", w.url+"/pay/v1/refunds", body, headers...)
}

func created(rw http.ResponseWriter, _ *http.Request) {
	h := rw.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Location", "/v1/refunds/re_1")
	h.Set("X-Once", "yes")
	h.Add("Set-Cookie", "session=cookie-canary")
	rw.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(rw, "{\"id\":  \"re_1\"}\n")
}
