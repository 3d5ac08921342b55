package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

const key7 = `Idempotency-Key: "order-7"`

func TestFirstAndReplay(t *testing.T) {
	store, path := sqlite(t)
	w := newWorld(t, store, "", refunds, created)
	secrets := []string{
		"Authorization: Bearer auth-canary", "Cookie: sid=request-cookie-canary", "X-Api-Key: api-key-canary",
		"Proxy-Authorization: Basic proxy-canary", key7,
	}
	const body = `{"amount": 500, "card": "body-canary"}`
	url := w.url + "/pay/v1/refunds?token=query-canary"
	first := ask(t, "POST", url, body, secrets...)
	again := ask(t, "POST", url, body, secrets...)
	first.is(t, 201, "re_1")
	w.want(1)
	if first.body != again.body || again.status != first.status || first.body != "{\"id\":  \"re_1\"}\n" {
		t.Errorf("first %d %q, replay %d %q", first.status, first.body, again.status, again.body)
	}
	if first.header.Get("Idempotent-Replayed") != "" || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("marks: first %q, replay %q", first.header.Get("Idempotent-Replayed"), again.header.Get("Idempotent-Replayed"))
	}
	for _, name := range []string{"Location", "Content-Type"} {
		if again.header.Get(name) != first.header.Get(name) || again.header.Get(name) == "" {
			t.Errorf("%s: first %q, replay %q", name, first.header.Get(name), again.header.Get(name))
		}
	}
	if first.header.Get("Set-Cookie") == "" || again.header.Get("Set-Cookie") != "" {
		t.Error("the cookie belongs to the first caller alone")
	}
	r, got := w.last()
	if r.Header.Get("Authorization") != "Bearer auth-canary" || r.Header.Get("Cookie") == "" || got != body || r.URL.RequestURI() != "/api/v1/refunds?token=query-canary" {
		t.Errorf("the upstream got %s %v %q", r.URL.RequestURI(), r.Header, got)
	}
	if !r.Close {
		t.Error("the connection to the upstream was kept: the next write could go out on a dead one, and again by itself")
	}
	if r.Header.Get("Proxy-Authorization") != "" {
		t.Error("Proxy-Authorization went through the proxy")
	}
	if k := r.Header.Get("X-Provider-Key"); len(k) != 52 || strings.Contains(k, "order-7") {
		t.Errorf("downstream key %q", k)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, canary := range []string{"auth-canary", "cookie-canary", "api-key-canary", "proxy-canary", "query-canary", "body-canary"} {
			if strings.Contains(string(data), canary) {
				t.Errorf("%s holds %s", filepath.Base(f), canary)
			}
		}
		if f == path && !strings.Contains(string(data), "re_1") {
			t.Error("the answer is not in the store file, so this test looked at nothing")
		}
	}
	if strings.Contains(w.log.String(), "canary") {
		t.Errorf("the log holds a secret:\n%s", w.log)
	}
}

// countingStore counts what a request asks of its store.
type countingStore struct {
	onceguard.Store
	calls atomic.Int64
}

func (c *countingStore) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	c.calls.Add(1)
	return c.Store.Get(ctx, ids)
}

func (c *countingStore) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	c.calls.Add(1)
	return c.Store.Claim(ctx, claims)
}

func (c *countingStore) Settle(ctx context.Context, s []onceguard.Settlement) ([]onceguard.Answer, error) {
	c.calls.Add(1)
	return c.Store.Settle(ctx, s)
}

// TestReplayAsksNobody: a recent replay asks neither the store nor the upstream.
func TestReplayAsksNobody(t *testing.T) {
	store := &countingStore{Store: memstore.New(memstore.Options{})}
	w := newWorld(t, store, "", refunds, created)
	for i, want := range []int64{2, 0} { // claim and settle; then the guard has the receipt
		before := store.calls.Load()
		w.post("{}", key7).is(t, 201, "re_1")
		if n := store.calls.Load() - before; n != want {
			t.Errorf("request %d made %d store calls, want %d", i+1, n, want)
		}
	}
	w.want(1)
}

func TestRefusedBeforeAnyClaim(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    string
		headers []string
		status  int
		problem string
	}{
		{"no key", "{}", nil, 400, "key-missing"},
		{"two keys", "{}", []string{"Idempotency-Key: a", "Idempotency-Key: b"}, 400, "key-malformed"},
		{"body too large", strings.Repeat("x", 1025), []string{key7}, 413, "body-too-large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil, "", refunds, created)
			w.post(tt.body, tt.headers...).is(t, tt.status, "urn:onceguard:problem:"+tt.problem)
			w.want(0)
			w.post("{}", key7).is(t, 201, "re_1") // and the key is free
		})
	}
}

func TestMismatch(t *testing.T) {
	w := newWorld(t, nil, "", refunds, created)
	w.post(`{"amount":1}`, key7).is(t, 201, "re_1")
	w.post(`{"amount":2}`, key7).is(t, 422, "key-reused")
	w.want(1)
}

func TestCallers(t *testing.T) {
	t.Run("by credential", func(t *testing.T) {
		w := newWorld(t, nil, "", refunds, created)
		w.post("{}", key7, "Authorization: Bearer one").is(t, 201, "re_1")
		w.post("{}", key7, "Authorization: Bearer two").is(t, 422, "key-reused")
		w.post("{}", key7).is(t, 422, "key-reused")
		w.want(1)
	})
	t.Run("by another header", func(t *testing.T) {
		w := newWorld(t, nil, "credential_header: X-Api-Key", refunds, created)
		w.post("{}", key7, "X-Api-Key: one", "Authorization: Bearer one").is(t, 201, "re_1")
		w.post("{}", key7, "X-Api-Key: one", "Authorization: Bearer rotated").is(t, 201, "re_1")
		w.post("{}", key7, "X-Api-Key: two", "Authorization: Bearer one").is(t, 422, "key-reused")
		w.want(1)
	})
	t.Run("shared", func(t *testing.T) {
		w := newWorld(t, nil, "callers: shared", refunds, created)
		w.post("{}", key7, "Authorization: Bearer one").is(t, 201, "re_1")
		w.post("{}", key7, "Authorization: Bearer two").is(t, 201, "re_1")
		w.want(1)
	})
}

func TestStatuses(t *testing.T) {
	for _, tt := range []struct {
		name        string
		upstream    int
		first       int
		firstText   string
		again       int
		againText   string
		reached     int
		replayed    string
		contentType string
	}{
		{"refusal is stored", 402, 402, "card", 402, "card", 1, "true", ""},
		{"before work runs again", 401, 401, "card", 401, "card", 2, "", ""},
		{"5xx is unknown", 503, 500, "outcome-unknown", 409, "outcome-unknown", 1, "", ""},
		{"409 is unknown", 409, 500, "outcome-unknown", 409, "outcome-unknown", 1, "", ""},
		{"a redirect is unknown", 307, 500, "outcome-unknown", 409, "outcome-unknown", 1, "", ""},
		{"declared success", 303, 303, "card", 303, "card", 1, "true", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			elsewhere := 0
			w := newWorld(t, nil, "", refunds, func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					elsewhere++
				}
				rw.Header().Set("Location", "/elsewhere")
				rw.WriteHeader(tt.upstream)
				_, _ = io.WriteString(rw, "card")
			})
			w.post("{}", key7).is(t, tt.first, tt.firstText)
			again := w.post("{}", key7)
			again.is(t, tt.again, tt.againText)
			if got := again.header.Get("Idempotent-Replayed"); got != tt.replayed {
				t.Errorf("the second answer has Idempotent-Replayed %q, want %q", got, tt.replayed)
			}
			w.want(tt.reached)
			if elsewhere != 0 {
				t.Error("the redirect was followed")
			}
		})
	}
}

// TestLostAnswers: the upstream got the request and its answer did not come
// whole. net/http would send such a request again on its own.
func TestLostAnswers(t *testing.T) {
	for name, say := range map[string]string{
		"nothing":     "",
		"not HTTP":    "secret-canary garbage\r\n\r\n",
		"half a body": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"half header": "HTTP/1.1 200 OK\r\nContent-Le",
	} {
		for _, body := range []string{"{}", ""} {
			t.Run(name+" to "+body, func(t *testing.T) {
				w := newWorld(t, nil, "", refunds, func(rw http.ResponseWriter, _ *http.Request) {
					conn, _, err := http.NewResponseController(rw).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.WriteString(conn, say)
					_ = conn.Close()
				})
				w.post(body, key7).is(t, 500, "outcome-unknown")
				w.post(body, key7).is(t, 409, "outcome-unknown")
				w.want(1)
				if strings.Contains(w.log.String(), "canary") {
					t.Error("the log quotes the upstream")
				}
			})
		}
	}
}

func TestUnreachable(t *testing.T) {
	w := newWorld(t, nil, "", refunds, created)
	addr := w.up.Listener.Addr().String()
	w.up.Close()
	w.post("{}", key7).is(t, 502, "proxy-upstream-unreachable")
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Skipf("the port was taken meanwhile: %v", err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(created)}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	got := w.post("{}", key7)
	got.is(t, 201, "re_1")
	if got.header.Get("Idempotent-Replayed") != "" {
		t.Error("the first answer of the upstream is marked as a replay")
	}
}

// TestCallerGone: the caller's end is not the effect's.
func TestCallerGone(t *testing.T) {
	arrived, release, cancelled := make(chan struct{}), make(chan struct{}), make(chan bool, 1)
	w := newWorld(t, nil, "", refunds, func(rw http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		cancelled <- r.Context().Err() != nil
		created(rw, r)
	})
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := try(ctx, "POST", w.url+"/pay/v1/refunds", "{}", key7)
		gone <- err
	}()
	<-arrived
	hangUp()
	if err := <-gone; err == nil {
		t.Fatal("the caller got an answer that was not given yet")
	}
	w.post("{}", key7, "Prefer: wait=0").is(t, 409, "in-progress")
	close(release)
	got := w.post("{}", key7)
	got.is(t, 201, "re_1")
	if got.header.Get("Idempotent-Replayed") != "true" {
		t.Error("the retry did not collect the first answer")
	}
	if <-cancelled {
		t.Error("the caller's end reached the upstream")
	}
	w.want(1)
}

// TestSafeRetry: an unknown outcome is sent again by the retry, with the same
// downstream key, so that the upstream can tell.
func TestSafeRetry(t *testing.T) {
	first := true
	w := newWorld(t, nil, "", `
      - methods: [POST]
        path: /v1/refunds
        action: refund.create
        key: [{header: Idempotency-Key}]
        policy: safe-retry
        preset: stripe
`, func(rw http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			rw.WriteHeader(http.StatusBadGateway)
			return
		}
		created(rw, r)
	})
	w.post("{}", key7).is(t, 500, "outcome-unknown")
	w.post("{}", key7).is(t, 201, "re_1")
	w.post("{}", key7).is(t, 201, "re_1")
	w.want(2)
	w.mu.Lock()
	defer w.mu.Unlock()
	a, b := w.got[0].Header.Values("Idempotency-Key"), w.got[1].Header.Values("Idempotency-Key")
	if len(a) != 1 || len(b) != 1 || a[0] != b[0] || strings.Contains(a[0], "order") {
		t.Errorf("downstream keys %q and %q", a, b)
	}
}

func TestKeys(t *testing.T) {
	const route = `
      - methods: [POST]
        path: /v1/orders/{order}/refunds
        action: refund.create
        key:
          - {name: order, path: order}
          - {name: line, json: /lines/0/id}
      - methods: [POST]
        path: /v1/charges
        action: charge.create
        key: [{name: invoice, form: "metadata[invoice]"}]
      - methods: [POST]
        path: /v1/mails
        action: mail.send
        key: [{name: message, header: X-Message}]
        key_optional: true
`
	const form = "Content-Type: application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, path, body string
		headers          []string
		status           int
		text             string
	}{
		{"path and body", "/v1/orders/7/refunds", `{"lines":[{"id":9007199254740993}]}`, nil, 201, "re_1"},
		{"body has no such part", "/v1/orders/7/refunds", `{"lines":[]}`, nil, 400, "key-missing"},
		{"null", "/v1/orders/7/refunds", `{"lines":[{"id":null}]}`, nil, 400, "key-missing"},
		{"an object", "/v1/orders/7/refunds", `{"lines":[{"id":{}}]}`, nil, 400, "key-malformed"},
		{"two names alike", "/v1/orders/7/refunds", `{"lines":[{"id":1,"id":2}]}`, nil, 400, "key-malformed"},
		{"not JSON", "/v1/orders/7/refunds", `lines`, nil, 400, "key-malformed"},
		{"form", "/v1/charges", "amount=5&metadata%5Binvoice%5D=in_1", []string{form}, 201, "re_1"},
		{"form, twice", "/v1/charges", "metadata[invoice]=a&metadata[invoice]=b", []string{form}, 400, "key-malformed"},
		{"form, missing", "/v1/charges", "amount=5", []string{form}, 400, "key-missing"},
		{"form, other type", "/v1/charges", "metadata[invoice]=a", nil, 400, "key-malformed"},
		{"header", "/v1/mails", "", []string{"X-Message: m1"}, 201, "re_1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil, "", route, created)
			for range 2 {
				ask(t, "POST", w.url+"/pay"+tt.path, tt.body, tt.headers...).is(t, tt.status, tt.text)
			}
			want := 0
			if tt.status == 201 {
				want = 1
			}
			w.want(want)
		})
	}
	t.Run("optional and missing", func(t *testing.T) {
		w := newWorld(t, nil, "", route, created)
		for range 2 {
			ask(t, "POST", w.url+"/pay/v1/mails", "hello").is(t, 201, "re_1")
		}
		w.want(2)
		if r, body := w.last(); body != "hello" || r.URL.Path != "/api/v1/mails" {
			t.Errorf("the upstream got %s %q", r.URL, body)
		}
	})
	t.Run("numbers are exact", func(t *testing.T) {
		w := newWorld(t, nil, "", route, created)
		for _, n := range []string{"9007199254740993", "9007199254740992"} {
			ask(t, "POST", w.url+"/pay/v1/orders/7/refunds", `{"lines":[{"id":`+n+`}]}`).is(t, 201, "re_1")
		}
		w.want(2)
	})
}

func TestScopeHeader(t *testing.T) {
	w := newWorld(t, nil, "", refunds+"scope_header: X-Tenant\nscope_header_is_authenticated: true\n", created)
	w.post("{}", key7, "X-Tenant: a").is(t, 201, "re_1")
	w.post("{}", key7, "X-Tenant: a").is(t, 201, "re_1")
	w.want(1)
	w.post("{}", key7, "X-Tenant: b").is(t, 201, "re_1")
	w.want(2)
	w.post("{}", key7).is(t, 403, "scope-denied")
	w.post("{}", key7, "X-Tenant: a", "X-Tenant: b").is(t, 403, "scope-denied")
	w.want(2)
}
