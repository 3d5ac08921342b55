package proxy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/npmtest"
)

// stripeAPI answers as Stripe does, and counts refunds where the proxy cannot:
// in this process. Without dedup each request is a refund of its own.
type stripeAPI struct {
	t      *testing.T
	dir    string
	config string
	sdk    string // where the npm package is installed

	dedup   bool
	refuse  bool
	drops   int           // so many answers are lost, from the first
	decided chan struct{} // if set: the first answer never comes, and this says that its refund is made

	mu      sync.Mutex
	keys    []string // of the requests, as they came
	refunds []string // keys of the refunds that were made: re_1, re_2, ...
}

func newStripeAPI(t *testing.T, policy string, change func(*stripeAPI)) *stripeAPI {
	t.Helper()
	dir := t.TempDir()
	s := &stripeAPI{
		t: t, dir: dir, config: filepath.Join(dir, "proxy.yaml"),
		sdk: npmtest.Install(t, "../..", "stripe", "testdata/stripe", "package.json", "refund.mjs"),
	}
	if change != nil {
		change(s)
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	text := fmt.Sprintf("upstreams:\n  - {name: stripe, prefix: /, base_url: %q, unmatched_writes: refuse, routes: [\n"+
		"      {methods: [POST], path: /v1/refunds, action: refund.create, key: [{header: Idempotency-Key}], preset: stripe, lease: 10s, policy: %s}]}\n", srv.URL, policy)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// ServeHTTP implements http.Handler.
func (s *stripeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	form, ferr := url.ParseQuery(string(body))
	key := r.Header.Get("Idempotency-Key")
	if err != nil || ferr != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/refunds" || form.Get("charge") != "ch_1" || key == "" {
		s.t.Errorf("the upstream got %s %s, key %q, %q", r.Method, r.URL.Path, key, body)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Request-Id", "req_1")
	s.mu.Lock()
	s.keys = append(s.keys, key)
	n := len(s.keys)
	if s.refuse {
		s.mu.Unlock()
		w.WriteHeader(http.StatusPaymentRequired)
		_, _ = io.WriteString(w, `{"error": {"type": "card_error", "code": "card_declined", "message": "no such card"}}`)
		return
	}
	made := slices.Index(s.refunds, key) + 1
	if made == 0 || !s.dedup {
		s.refunds = append(s.refunds, key)
		made = len(s.refunds)
	}
	s.mu.Unlock()
	switch {
	case n <= s.drops:
		panic(http.ErrAbortHandler) // the connection ends instead of an answer
	case n == 1 && s.decided != nil:
		close(s.decided)
		<-r.Context().Done() // until the proxy is gone
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": fmt.Sprintf("re_%d", made), "object": "refund", "amount": 500, "charge": "ch_1", "status": "succeeded",
	})
}

// saw fails the test unless so many requests came, all under one key that is not
// the caller's, and made so many refunds.
func (s *stripeAPI) saw(requests, refunds int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.keys) != requests || len(s.refunds) != refunds {
		s.t.Errorf("the upstream got %d requests and made %d refunds, want %d and %d", len(s.keys), len(s.refunds), requests, refunds)
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(s.keys))); len(distinct) > 1 || slices.Contains(distinct, "order-7") {
		s.t.Errorf("the upstream got the keys %q, want one, of the guard's own", distinct)
	}
}

func (s *stripeAPI) proxy(listen string) *process {
	s.t.Helper()
	return startProxy(s.t, s.config, filepath.Join(s.dir, "receipts.db"), listen)
}

// learned is what a program that uses the SDK gets: an object, or an error.
type learned struct {
	ID       string
	Replayed bool

	Error   string // its class in the SDK
	Code    string
	Status  int
	Message string
}

// sdkRun is a run of the SDK in a process of its own.
type sdkRun struct {
	t           *testing.T
	cmd         *exec.Cmd
	out, stderr bytes.Buffer
}

func (s *stripeAPI) start(addr string, retries int, more ...string) *sdkRun {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	s.t.Cleanup(cancel)
	args := append([]string{"refund.mjs", "http://" + addr, "order-7", fmt.Sprint(retries)}, more...)
	r := &sdkRun{t: s.t, cmd: exec.CommandContext(ctx, "node", args...)}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = s.sdk, &r.out, &r.stderr
	if err := r.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (r *sdkRun) end() (l learned) {
	r.t.Helper()
	if err := r.cmd.Wait(); err != nil {
		r.t.Fatalf("refund.mjs: %v\n%s%s", err, r.out.String(), r.stderr.String())
	}
	if err := json.Unmarshal(r.out.Bytes(), &l); err != nil {
		r.t.Fatalf("%v in %q", err, r.out.String())
	}
	return l
}

// made fails the test unless the program got the refund re_1.
func (r *sdkRun) made(replayed bool) {
	r.t.Helper()
	if l := r.end(); l.ID != "re_1" || l.Replayed != replayed || l.Error != "" {
		r.t.Errorf("the program got %+v, want re_1, replayed %v", l, replayed)
	}
}

// fails fails the test unless the program got an error: an object would be a
// refund to it, whatever the status was.
func (r *sdkRun) fails(class, code string, status int) {
	r.t.Helper()
	if l := r.end(); l.Error != class || l.Code != code || l.Status != status || l.Message == "" {
		r.t.Errorf("the program got %+v, want %s %s %d", l, class, code, status)
	}
}

const (
	atMostOnce = "at-most-once"
	safeRetry  = "safe-retry"
)

// TestStripeSDK: the npm package stripe, which retries by itself, talks through
// the proxy.
func TestStripeSDK(t *testing.T) {
	t.Run("plain", func(t *testing.T) {
		s := newStripeAPI(t, atMostOnce, nil)
		proxy := s.proxy(anyPort)
		s.start(proxy.addr, 2).made(false)
		s.start(proxy.addr, 2).made(true)
		s.saw(1, 1)
	})
	t.Run("refused", func(t *testing.T) {
		s := newStripeAPI(t, atMostOnce, func(s *stripeAPI) { s.refuse = true })
		proxy := s.proxy(anyPort)
		for range 2 {
			s.start(proxy.addr, 2).fails("StripeCardError", "card_declined", 402)
		}
		s.saw(1, 0)
	})
	t.Run("no route", func(t *testing.T) {
		s := newStripeAPI(t, atMostOnce, nil)
		s.start(s.proxy(anyPort).addr, 2, "charge").fails("StripePermissionError", "proxy-unmatched-write", 403)
		s.saw(0, 0)
	})
	t.Run("answer dropped, at-most-once", func(t *testing.T) {
		s := newStripeAPI(t, atMostOnce, func(s *stripeAPI) { s.drops = 1 })
		proxy := s.proxy(anyPort)
		s.start(proxy.addr, 1).fails("StripeAPIError", "outcome-unknown", 409)
		s.start(proxy.addr, 1).fails("StripeAPIError", "outcome-unknown", 409)
		s.saw(1, 1)
	})
	t.Run("answer dropped, safe-retry", func(t *testing.T) {
		s := newStripeAPI(t, safeRetry, func(s *stripeAPI) { s.drops, s.dedup = 1, true })
		proxy := s.proxy(anyPort)
		s.start(proxy.addr, 3).made(false) // the SDK's own retry
		s.start(proxy.addr, 3).made(true)
		s.saw(2, 1)
	})
}

// TestStripeSDKKilled: SIGKILL between the refund and its answer, while the SDK
// waits; it goes on by itself as soon as a proxy listens again.
func TestStripeSDKKilled(t *testing.T) {
	killed := func(t *testing.T, policy string) (*stripeAPI, *process, *sdkRun) {
		s := newStripeAPI(t, policy, func(s *stripeAPI) { s.decided, s.dedup = make(chan struct{}), policy == safeRetry })
		proxy := s.proxy(anyPort)
		run := s.start(proxy.addr, 4)
		select {
		case <-s.decided:
		case <-t.Context().Done():
			t.Fatal("nothing reached the upstream")
		}
		proxy.kill()
		return s, s.proxy(proxy.addr), run
	}
	t.Run("at-most-once", func(t *testing.T) {
		s, proxy, run := killed(t, atMostOnce)
		run.fails("StripeAPIError", "outcome-unknown", 409)
		proxy.kill()
		s.start(s.proxy(proxy.addr).addr, 0).fails("StripeAPIError", "outcome-unknown", 409)
		s.saw(1, 1)
	})
	t.Run("safe-retry", func(t *testing.T) {
		s, proxy, run := killed(t, safeRetry)
		run.made(false)
		s.start(proxy.addr, 0).made(true)
		proxy.kill()
		s.start(s.proxy(proxy.addr).addr, 0).made(true)
		s.saw(2, 1)
		log := proxy.log.String()
		if strings.Contains(log, "sk_test_canary") {
			t.Errorf("the log holds a secret:\n%s", log)
		}
	})
}

// TestProblemsHaveError: the member by which the SDK tells an error from a
// refund is in the guard's problems and in the proxy's own.
func TestProblemsHaveError(t *testing.T) {
	w := newWorld(t, nil, "", refunds, created)
	w.post("{}").is(t, 400, `"code": "key-missing"`)
	ask(t, "POST", w.url+"/pay/v1/charges", "{}", key7).is(t, 403, `"code": "proxy-unmatched-write"`)
}
