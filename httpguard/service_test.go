package httpguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/memstore"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	os.Exit(m.Run())
}

// world is a store whose clock the test moves, a guard on it, and a ledger that
// counts effects where the guard cannot reach.
type world struct {
	t      *testing.T
	store  *watchedStore
	guard  *onceguard.Guard
	ledger *ledger.Client
	later  atomic.Int64 // nanoseconds that the store's clock is ahead
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	w.store = &watchedStore{Store: memstore.New(memstore.Options{Now: func() time.Time {
		return time.Now().Add(time.Duration(w.later.Load()))
	}})}
	g, err := onceguard.New(t.Context(), w.store, onceguard.Options{
		ReplayCache:  -1, // so that store calls can be counted, and what is pruned behind the guard is seen
		StoreTimeout: 200 * time.Millisecond, SettleWait: 100 * time.Millisecond, Observer: onceguard.SlogObserver(quiet),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.store.fail(nil)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	w.guard = g
	ready := make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ledger.Run(ctx, ledger.Config{File: filepath.Join(t.TempDir(), "ledger.jsonl"), Ready: func(a string) { ready <- a }})
	}()
	w.ledger = ledger.NewClient(<-ready)
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

var quiet = slog.New(slog.DiscardHandler)

func (w *world) options() httpguard.Options {
	return httpguard.Options{Action: "refund.create", Scope: tenant, Logger: quiet}
}

// tenant is the scope function of the tests: authentication is a header here.
func tenant(r *http.Request) (string, error) {
	if t := r.Header.Get("Tenant"); t != "" {
		return t, nil
	}
	return "acme", nil
}

// serve starts a server whose handler is behind the guard, with the status
// endpoint beside it, and returns its address.
func (w *world) serve(o httpguard.Options, handler http.Handler) string {
	w.t.Helper()
	m, err := httpguard.New(w.guard, o)
	if err != nil {
		w.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/orders/{id}/refunds", m.Wrap(handler))
	mux.Handle("/refunds/status", m.Status())
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Start()
	w.t.Cleanup(func() {
		srv.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := m.Drain(ctx); err != nil {
			w.t.Error(err)
		}
	})
	return strings.TrimPrefix(srv.URL, "http://")
}

// refund asks the ledger for one effect per order, and answers as APIs do, with
// headers that a receipt may and may not keep.
func (w *world) refund() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var in struct{ Amount int }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(rw, "not JSON", http.StatusBadRequest)
			return
		}
		effect, err := w.ledger.Apply(r.Context(), ledger.Request{Op: "order-" + r.PathValue("id")})
		var said *ledger.Error
		switch {
		case errors.As(err, &said) && said.Code == string(ledger.Refused):
			http.Error(rw, "declined: "+said.Reason, http.StatusPaymentRequired)
			return
		case err != nil:
			http.Error(rw, "the provider did not answer", http.StatusServiceUnavailable)
			return
		}
		h := rw.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Location", "/refunds/"+effect.ID)
		h.Set("Set-Cookie", "session=secret-canary")
		h.Set("X-Trace", "of-this-exchange")
		rw.WriteHeader(http.StatusCreated)
		fmt.Fprintf(rw, "{\"refund\": %q,  \"amount\": %d}\n", effect.ID, in.Amount)
	})
}

// effects checks how often the world was changed for an order.
func (w *world) effects(order string, want int) {
	w.t.Helper()
	n, err := w.ledger.Count(w.t.Context(), "order-"+order)
	if err != nil {
		w.t.Fatal(err)
	}
	if n != want {
		w.t.Errorf("order %s: %d effects, want %d", order, n, want)
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// watchedStore counts calls and fails on demand.
type watchedStore struct {
	onceguard.Store
	claims, settles, gets, others atomic.Int64

	mu      sync.Mutex
	failure func(op string) error
}

func (s *watchedStore) fail(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = f
}

func (s *watchedStore) err(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == nil {
		return nil
	}
	if err := s.failure(op); err != nil {
		return &onceguard.StoreError{Op: op, Clean: true, Err: err}
	}
	return nil
}

func (s *watchedStore) Claim(ctx context.Context, c []onceguard.Claim) ([]onceguard.Answer, error) {
	s.claims.Add(1)
	if err := s.err("claim"); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, c)
}

func (s *watchedStore) Settle(ctx context.Context, c []onceguard.Settlement) ([]onceguard.Answer, error) {
	s.settles.Add(1)
	if err := s.err("settle"); err != nil {
		return nil, err
	}
	return s.Store.Settle(ctx, c)
}

func (s *watchedStore) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	s.gets.Add(1)
	if err := s.err("get"); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, ids)
}

func (s *watchedStore) Renew(ctx context.Context, r []onceguard.Renewal) ([]onceguard.Answer, error) {
	s.others.Add(1)
	return s.Store.Renew(ctx, r)
}

func (s *watchedStore) Resolve(ctx context.Context, r onceguard.Resolution) (onceguard.Answer, error) {
	s.others.Add(1)
	return s.Store.Resolve(ctx, r)
}

var errDown = errors.New("connection refused")

func drain(t *testing.T, resp *http.Response, err error) (int, http.Header, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}
