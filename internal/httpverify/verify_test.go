package httpverify_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"github.com/onceguard/onceguard/internal/httpverify"
	"github.com/onceguard/onceguard/memstore"
)

// api is a handler that does something each time it runs, and counts.
type api struct {
	mu      sync.Mutex
	effects int
	answers map[string]string // of servers that remember by themselves
	bodies  map[string]string
}

func (a *api) run(w http.ResponseWriter, r *http.Request) string {
	a.mu.Lock()
	a.effects++
	n := a.effects
	a.mu.Unlock()
	text := fmt.Sprintf(`{"effect":%d}`, n)
	if w != nil {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, text)
	}
	return text
}

// serve puts a handler beside the count of effects.
func (a *api) serve(t *testing.T, h http.Handler) httpverify.Target {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("POST /things", h)
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]int{"effects": a.effects})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return httpverify.Target{
		URL: srv.URL + "/things", Body: `{"thing":"{unique}"}`, CountURL: srv.URL + "/count", CountField: "effects", Timeout: 10 * time.Second, Parallel: 6,
	}
}

func verdicts(t *testing.T, target httpverify.Target) map[string]httpverify.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	heard := 0
	rep, err := httpverify.Run(ctx, target, func(httpverify.Result) { heard++ })
	if err != nil {
		t.Fatal(err)
	}
	if heard != len(rep.Results) || heard == 0 {
		t.Errorf("heard of %d results, there are %d", heard, len(rep.Results))
	}
	m := map[string]httpverify.Result{}
	for _, r := range rep.Results {
		m[r.Check] = r
		t.Logf("%s %s: %s %v", r.Verdict, r.Check, r.Detail, r.Seen)
	}
	return m
}

// TestOwnMiddleware: our middleware keeps everything that we ask of others.
func TestOwnMiddleware(t *testing.T) {
	for _, counted := range []bool{true, false} {
		a := &api{}
		g, err := onceguard.New(t.Context(), memstore.New(memstore.Options{}), onceguard.Options{Observer: onceguard.SlogObserver(slog.New(slog.DiscardHandler))})
		if err != nil {
			t.Fatal(err)
		}
		m := httpguard.Must(httpguard.New(g, httpguard.Options{Action: "thing.create", Scope: httpguard.SingleTenant}))
		target := a.serve(t, m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.run(w, r) })))
		if !counted {
			target.CountURL = ""
		}
		for name, r := range verdicts(t, target) {
			if r.Verdict != httpverify.Kept && (counted || name != "answer-lost") {
				t.Errorf("counted %v: %s is %s: %s %v", counted, name, r.Verdict, r.Detail, r.Seen)
			}
			if counted != (r.Effects != nil) {
				t.Errorf("%s: effects %v", name, r.Effects)
			}
		}
	}
}

// TestCarelessServers: each mistake is found, by the check that is about it.
func TestCarelessServers(t *testing.T) {
	for name, c := range map[string]struct {
		handler func(a *api) http.HandlerFunc
		broken  []string
	}{
		"no memory at all": {func(a *api) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { a.run(w, r) }
		}, []string{"replay", "replay-headers", "mismatch", "concurrent", "concurrent-mismatch", "answer-lost", "key-repeated", "key-missing"}},
		"remembers after the work": {func(a *api) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { a.remember(w, r, false, nil) }
		}, []string{"concurrent"}},
		"does not compare payloads": {func(a *api) http.HandlerFunc {
			var turn sync.Mutex
			return func(w http.ResponseWriter, r *http.Request) { a.remember(w, r, true, &turn) }
		}, []string{"mismatch", "concurrent-mismatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{answers: map[string]string{}, bodies: map[string]string{}}
			got := verdicts(t, a.serve(t, c.handler(a)))
			for _, b := range c.broken {
				if got[b].Verdict != httpverify.Broken {
					t.Errorf("%s is %s: %s", b, got[b].Verdict, got[b].Detail)
				}
			}
			if len(c.broken) < 4 && got["replay"].Verdict != httpverify.Kept {
				t.Errorf("replay is %s: %s", got["replay"].Verdict, got["replay"].Detail)
			}
		})
	}
}

// remember is what people write first: look, work, store. With turn it is done
// under a lock.
func (a *api) remember(w http.ResponseWriter, r *http.Request, anyBody bool, turn *sync.Mutex) {
	if turn != nil {
		turn.Lock()
		defer turn.Unlock()
	}
	keys := r.Header.Values("Idempotency-Key")
	if len(keys) != 1 {
		http.Error(w, "one key", http.StatusBadRequest)
		return
	}
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	answer, ok := a.answers[keys[0]]
	same := a.bodies[keys[0]] == string(body)
	a.mu.Unlock()
	if ok && !same && !anyBody {
		http.Error(w, "another payload", http.StatusUnprocessableEntity)
		return
	}
	if !ok {
		if turn == nil {
			time.Sleep(20 * time.Millisecond) // the work, in which others look too
		}
		answer = a.run(nil, r)
		a.mu.Lock()
		a.answers[keys[0]], a.bodies[keys[0]] = answer, string(body)
		a.mu.Unlock()
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

func TestTargetsAreOnesOwn(t *testing.T) {
	for _, url := range []string{
		"http://192.0.2.1/", "http://[2001:db8::1]/", "http://api.example.com/", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1/", "http://0.0.0.0/", "http://[::ffff:192.0.2.1]/", "",
	} {
		if _, err := httpverify.Run(t.Context(), httpverify.Target{URL: url}, nil); !errors.Is(err, httpverify.ErrUnusable) || strings.Contains(err.Error(), "did not answer") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := httpverify.Run(t.Context(), httpverify.Target{URL: "http://127.0.0.1/", CountURL: "http://192.0.2.1/"}, nil); !errors.Is(err, httpverify.ErrUnusable) {
		t.Errorf("a count elsewhere: %v", err)
	}
	// Naming one host opens no other.
	if _, err := httpverify.Run(t.Context(), httpverify.Target{URL: "http://192.0.2.1/", Owned: "192.0.2.2"}, nil); !errors.Is(err, httpverify.ErrUnusable) {
		t.Error(err)
	}
}

func TestUnusable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	_, err := httpverify.Run(t.Context(), httpverify.Target{URL: srv.URL}, nil)
	if !errors.Is(err, httpverify.ErrUnusable) || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
	srv.Close()
	_, err = httpverify.Run(t.Context(), httpverify.Target{URL: srv.URL}, nil)
	if !errors.Is(err, httpverify.ErrUnusable) || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("%v", err)
	}
}
