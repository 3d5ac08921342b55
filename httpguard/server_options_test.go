package httpguard_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
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

func (s *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

// TestNewRefuses: options that protect nothing are refused before any request.
func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		change func(*httpguard.Options)
		want   string
	}{
		"no scope":      {func(o *httpguard.Options) { o.Scope = nil }, "SingleTenant"},
		"no action":     {func(o *httpguard.Options) { o.Action = "" }, "action"},
		"short lease":   {func(o *httpguard.Options) { o.Limits.Lease = time.Millisecond }, "lease"},
		"no horizon":    {func(o *httpguard.Options) { o.Policy.Kind = onceguard.SafeRetryKind }, "horizon"},
		"transactional": {func(o *httpguard.Options) { o.Policy = onceguard.Transactional }, "DoTx"},
		"cookie":        {func(o *httpguard.Options) { o.StoreHeaders = []string{"set-cookie"} }, "never stored"},
		"credentials":   {func(o *httpguard.Options) { o.StoreHeaders = []string{"WWW-Authenticate"} }, "never stored"},
		"hop by hop":    {func(o *httpguard.Options) { o.StoreHeaders = []string{"connection"} }, "never stored"},
		"date":          {func(o *httpguard.Options) { o.StoreHeaders = []string{"date"} }, "never stored"},
		"max result":    {func(o *httpguard.Options) { o.Limits.MaxResult = 1 }, "MaxResponse"},
		"negative":      {func(o *httpguard.Options) { o.MaxBody = -1 }, "negative"},
		"method":        {func(o *httpguard.Options) { o.Methods = []string{"post"} }, "upper case"},
	} {
		t.Run(name, func(t *testing.T) {
			o := w.options()
			c.change(&o)
			if m, err := httpguard.New(w.guard, o); err == nil || m != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New: %v, want an error about %q", err, c.want)
			}
		})
	}
	defer func() {
		if recover() == nil {
			t.Error("Must did not panic")
		}
	}()
	httpguard.Must(httpguard.New(w.guard, httpguard.Options{}))
}

// count serves a handler that counts, and sends requests straight to it.
type count struct {
	t    *testing.T
	h    http.Handler
	runs int
}

func newCount(t *testing.T, change func(*httpguard.Options)) *count {
	t.Helper()
	w := newWorld(t)
	o := w.options()
	change(&o)
	c := &count{t: t}
	c.h = httpguard.Must(httpguard.New(w.guard, o)).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		c.runs++
		fmt.Fprintf(rw, "run %d", c.runs)
	}))
	return c
}

func (c *count) send(r *http.Request, headers ...string) *httptest.ResponseRecorder {
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	c.h.ServeHTTP(rec, r)
	return rec
}

func (c *count) want(rec *httptest.ResponseRecorder, status, runs int) {
	c.t.Helper()
	if rec.Code != status || c.runs != runs {
		c.t.Errorf("status %d after %d runs, want %d after %d: %s", rec.Code, c.runs, status, runs, rec.Body)
	}
}

func TestMethods(t *testing.T) {
	c := newCount(t, func(*httpguard.Options) {})
	for i, method := range []string{"GET", "HEAD", "OPTIONS", "GET"} {
		c.want(c.send(keyed(method, "/", "")), 200, i+1)
	}
	for _, method := range []string{"POST", "POST"} {
		c.want(c.send(keyed(method, "/", "")), 200, 5)
	}
	c = newCount(t, func(o *httpguard.Options) { o.Methods = []string{"GET"} })
	c.want(c.send(keyed("GET", "/", "")), 200, 1)
	c.want(c.send(keyed("GET", "/", "")), 200, 1)
	c.want(c.send(keyed("POST", "/", "")), 200, 2)
}

// TestMeaning: what belongs to the request besides its body.
func TestMeaning(t *testing.T) {
	send := func(c *count, target, body string, headers ...string) *httptest.ResponseRecorder {
		return c.send(keyed("POST", target, body), headers...)
	}
	c := newCount(t, func(*httpguard.Options) {})
	c.want(send(c, "/a?x=1", "{}", "Content-Type", "application/json"), 200, 1)
	c.want(send(c, "/a?x=1", "{}", "Content-Type", "application/json", "User-Agent", "another"), 200, 1)
	c.want(send(c, "/a?x=2", "{}", "Content-Type", "application/json"), 422, 1)
	c.want(send(c, "/b?x=1", "{}", "Content-Type", "application/json"), 422, 1)
	c.want(send(c, "/a?x=1", "{}", "Content-Type", "text/plain"), 422, 1)
	c.want(send(c, "/a?x=1", "{ }", "Content-Type", "application/json"), 422, 1)

	c = newCount(t, func(o *httpguard.Options) {
		o.Headers = []string{"Api-Version"}
		o.Meaning = func(_ *http.Request, body []byte) ([]byte, error) { return onceguard.CanonicalJSON(body) }
	})
	c.want(send(c, "/", `{"a":1,"b":2}`, "Api-Version", "1"), 200, 1)
	c.want(send(c, "/", `{"b": 2, "a": 1}`, "Api-Version", "1"), 200, 1)
	c.want(send(c, "/", `{"a":1,"b":2}`, "Api-Version", "2"), 422, 1)
	c.want(send(c, "/", `not JSON`, "Api-Version", "1"), 400, 1)

	c = newCount(t, func(o *httpguard.Options) {
		o.Principal = func(r *http.Request) string { return r.Header.Get("User") }
	})
	c.want(send(c, "/", "", "User", "ann"), 200, 1)
	c.want(send(c, "/", "", "User", "ann"), 200, 1)
	c.want(send(c, "/", "", "User", "eve"), 422, 1)
}

func TestOwnKey(t *testing.T) {
	c := newCount(t, func(o *httpguard.Options) {
		o.Key = func(_ *http.Request, body []byte) (onceguard.Key, error) {
			if len(body) == 0 {
				return onceguard.Key{}, nil
			}
			return onceguard.KeyOf("order", string(body)), nil
		}
	})
	c.want(c.send(keyed("POST", "/", "A")), 200, 1)
	c.want(c.send(keyed("POST", "/", "A")), 200, 1)
	c.want(c.send(keyed("POST", "/", "B")), 200, 2)
	c.want(c.send(keyed("POST", "/", "")), 400, 2)
	if rec := c.send(keyed("POST", "/", "a\x00")); rec.Code != 400 || !strings.Contains(rec.Body.String(), "key-malformed") {
		t.Errorf("a bad key: %d %s", rec.Code, rec.Body)
	}
}

// TestOwnKeyMissing: a key function reads the body, and an unguarded handler
// still gets it.
func TestOwnKeyMissing(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.AllowMissing = true
	o.Key = func(*http.Request, []byte) (onceguard.Key, error) { return onceguard.Key{}, nil }
	h := httpguard.Must(httpguard.New(w.guard, o)).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(rw, r.Body)
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, keyed("POST", "/", refundBody))
	if rec.Body.String() != refundBody {
		t.Errorf("the handler read %q", rec.Body)
	}
}

func TestClassify(t *testing.T) {
	for status, want := range map[int]onceguard.StatusClass{
		200: onceguard.StatusSucceeded, 204: onceguard.StatusSucceeded, 303: onceguard.StatusSucceeded,
		400: onceguard.StatusRefused, 409: onceguard.StatusRefused, 429: onceguard.StatusRefused,
		408: onceguard.StatusUnknown, 425: onceguard.StatusUnknown, 500: onceguard.StatusUnknown, 503: onceguard.StatusUnknown,
	} {
		if got := httpguard.ClassifyResponse(status); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
	w := newWorld(t)
	o := w.options()
	o.Classify = func(_ *http.Request, status int, h http.Header) onceguard.StatusClass {
		if h.Get("X-Nothing-Happened") != "" {
			return onceguard.StatusNotExecuted
		}
		return httpguard.ClassifyResponse(status)
	}
	runs := 0
	h := httpguard.Must(httpguard.New(w.guard, o)).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if runs++; runs == 1 {
			rw.Header().Set("X-Nothing-Happened", "1")
			rw.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	for _, want := range []int{429, 200, 200} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, keyed("POST", "/", ""))
		if rec.Code != want {
			t.Errorf("status %d, want %d", rec.Code, want)
		}
	}
	if runs != 2 {
		t.Errorf("%d runs, want 2", runs)
	}
}

func TestSetOutcomeOutweighsTheStatus(t *testing.T) {
	w := newWorld(t)
	h := httpguard.Must(httpguard.New(w.guard, w.options())).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		a, ok := httpguard.Attempt(r.Context())
		if !ok || a.Number() != 1 || a.DownstreamKey() == "" {
			t.Errorf("attempt %v %v", a, ok)
		}
		httpguard.SetOutcome(r.Context(), onceguard.StatusUnknown, "the provider hung up")
		rw.WriteHeader(http.StatusOK)
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, keyed("POST", "/", ""))
	if rec.Code != http.StatusInternalServerError || !strings.Contains(rec.Body.String(), "outcome-unknown") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if _, ok := httpguard.Attempt(context.Background()); ok {
		t.Error("an attempt outside of a handler")
	}
	httpguard.Release(context.Background(), "nothing to release") // does nothing
}
