package httpguard_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

// shop is a provider in the shape of those that have lookups: it makes one
// object per key, in the header or in the body, loses answers on demand, lists by
// key and cancels by key.
type shop struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	objects  map[string]string // by key
	effects  int
	requests int
	lose     int  // answers to lose, after the effect
	never    bool // lose them before it
	captured bool // a cancel comes too late
	twice    bool // the list shows each object twice
}

func newShop(t *testing.T) *shop {
	s := &shop{t: t, objects: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /payments", s.create)
	mux.HandleFunc("GET /payments", s.list)
	mux.HandleFunc("POST /v2/payments/cancel", s.cancel)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *shop) create(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var in struct {
		Key string `json:"idempotency_key"`
	}
	_ = json.Unmarshal(body, &in)
	key := r.Header.Get("Idempotency-Key") + in.Key
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	lost := s.lose > 0
	if lost {
		s.lose--
	}
	if lost && s.never {
		panic(http.ErrAbortHandler)
	}
	object, known := s.objects[key]
	if !known {
		s.effects++
		object = fmt.Sprintf(`{"id":"pay_%d"}`, s.effects)
		s.objects[key] = object
	}
	if lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, object)
}

func (s *shop) list(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []string
	if object, ok := s.objects[r.URL.Query().Get("idempotency_key")]; ok {
		found = append(found, object)
		if s.twice {
			found = append(found, object)
		}
	}
	_, _ = io.WriteString(w, `{"data":[`+strings.Join(found, ",")+`],"next_cursor":null}`)
}

func (s *shop) cancel(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Key string `json:"idempotency_key"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.captured {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	delete(s.objects, in.Key)
	_, _ = io.WriteString(w, "{}")
}

func (s *shop) is(requests, effects int) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests != requests || s.effects != effects {
		s.t.Errorf("%d requests and %d effects, want %d and %d", s.requests, s.effects, requests, effects)
	}
}

func bearer(r *http.Request) error {
	r.Header.Set("Authorization", "Bearer secret")
	return nil
}

// set changes how the shop behaves from now on.
func (s *shop) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *shop) stands() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.objects)
}

// uncertain pays through a transport whose provider loses the answer.
func (s *shop) uncertain(tr *httpguard.Transport) {
	s.t.Helper()
	s.set(func() { s.lose = 1 })
	if _, err := s.pay(tr); !errors.Is(err, onceguard.ErrUncertain) {
		s.t.Fatalf("got %v", err)
	}
}

func (s *shop) pay(tr *httpguard.Transport) (*http.Response, error) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/payments", strings.NewReader(`{"amount":1}`))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Payment-Key", "k")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer canary")
	r.URL.User = url.UserPassword("canary", "canary")
	return tr.RoundTrip(r)
}

// once makes one pass of the reconciler.
func once(t *testing.T, r *onceguard.Reconciler) onceguard.ReconcileStats {
	t.Helper()
	stats, err := r.Once(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

func reconciler(t *testing.T, tr *httpguard.Transport) *onceguard.Reconciler {
	t.Helper()
	if err := tr.Validate(); err != nil {
		t.Fatal(err)
	}
	r, err := tr.Guard.Reconciler(onceguard.ReconcilerOptions{}, tr.Lookups()...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestIncreaseList(t *testing.T) {
	with := func(s *shop) *httpguard.Transport {
		return newTransport(t, func(tr *httpguard.Transport) {
			tr.Rules[0].Preset = httpguard.Increase
			tr.Rules[0].Reconcile = httpguard.IncreaseList(s.url+"/payments", httpguard.Asker{Authorize: bearer})
		})
	}
	t.Run("it happened", func(t *testing.T) {
		s := newShop(t)
		tr := with(s)
		s.uncertain(tr)
		if stats := once(t, reconciler(t, tr)); stats.Settled != 1 {
			t.Fatalf("%+v", stats)
		}
		resp, err := s.pay(tr)
		status, h, body := drain(t, resp, err)
		if status != http.StatusOK || body != `{"id":"pay_1"}` || h.Get(httpguard.HeaderFromReceipt) != "true" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%d %v %q", status, h, body)
		}
		s.is(1, 1)
	})
	t.Run("not seen settles nothing", func(t *testing.T) {
		s := newShop(t)
		tr := with(s)
		s.set(func() { s.never = true })
		s.uncertain(tr)
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Asked != 1 || stats.Failed != 0 {
			t.Errorf("%+v", stats)
		}
		if _, err := s.pay(tr); !errors.Is(err, onceguard.ErrUncertain) {
			t.Errorf("got %v", err)
		}
		s.is(1, 0)
	})
	t.Run("two objects, or no access, settle nothing", func(t *testing.T) {
		s := newShop(t)
		tr := with(s)
		s.uncertain(tr)
		s.set(func() { s.twice = true })
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Failed != 1 {
			t.Errorf("%+v", stats)
		}
		tr.Rules[0].Reconcile = httpguard.IncreaseList(s.url+"/payments", httpguard.Asker{})
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Failed != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestSquareCancel(t *testing.T) {
	with := func(s *shop) *httpguard.Transport {
		return newTransport(t, func(tr *httpguard.Transport) {
			tr.Rules[0].Preset, tr.Rules[0].Reconcile = httpguard.Square, httpguard.SquareCancel(s.url, httpguard.Asker{})
		})
	}
	t.Run("voids, and does not call it over", func(t *testing.T) {
		s := newShop(t)
		tr := with(s)
		s.uncertain(tr)
		if s.stands() != 1 {
			t.Fatal("nothing was paid")
		}
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Failed != 0 {
			t.Errorf("%+v", stats)
		}
		if s.stands() != 0 {
			t.Error("the payment stands")
		}
		if _, err := s.pay(tr); !errors.Is(err, onceguard.ErrUncertain) {
			t.Errorf("got %v", err)
		}
		s.is(1, 1)
	})
	t.Run("a payment that is captured stays uncertain", func(t *testing.T) {
		s := newShop(t)
		tr := with(s)
		s.uncertain(tr)
		s.set(func() { s.captured = true })
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Failed != 1 {
			t.Errorf("%+v", stats)
		}
	})
}

func TestSameKey(t *testing.T) {
	with := func(s *shop, change func(*httpguard.Rule)) *httpguard.Transport {
		return newTransport(t, func(tr *httpguard.Transport) {
			r := &tr.Rules[0]
			r.Preset, r.KeepRequest, r.Reconcile = httpguard.Stripe, true, httpguard.SameKey(httpguard.Stripe, httpguard.Asker{Authorize: bearer})
			if change != nil {
				change(r)
			}
		})
	}
	for name, never := range map[string]bool{"it had happened": false, "it had not": true} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			tr := with(s, nil)
			s.set(func() { s.never = never })
			s.uncertain(tr)
			if stats := once(t, reconciler(t, tr)); stats.Settled != 1 {
				t.Fatalf("%+v", stats)
			}
			resp, err := s.pay(tr)
			if status, _, body := drain(t, resp, err); status != http.StatusCreated || body != `{"id":"pay_1"}` {
				t.Errorf("%d %q", status, body)
			}
			s.is(2, 1)
		})
	}
	t.Run("not when the key is too old", func(t *testing.T) {
		s := newShop(t)
		tr := with(s, nil)
		s.uncertain(tr)
		guardtest.StoreOf(t, tr.Guard).Advance(22 * time.Hour)
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Failed != 0 {
			t.Errorf("%+v", stats)
		}
		s.is(1, 1)
	})
	t.Run("not without the request", func(t *testing.T) {
		s := newShop(t)
		tr := with(s, func(r *httpguard.Rule) { r.KeepRequest = false })
		s.uncertain(tr)
		if stats := once(t, reconciler(t, tr)); stats.Failed != 1 {
			t.Errorf("%+v", stats)
		}
		s.is(1, 1)
	})
	t.Run("not for a provider whose horizon is unknown", func(t *testing.T) {
		s := newShop(t)
		tr := with(s, func(r *httpguard.Rule) { r.Reconcile = httpguard.SameKey(httpguard.PayPal, httpguard.Asker{}) })
		s.uncertain(tr)
		if stats := once(t, reconciler(t, tr)); stats.Failed != 1 {
			t.Errorf("%+v", stats)
		}
		s.is(1, 1)
	})
	t.Run("a lookup whose answer is lost settles nothing", func(t *testing.T) {
		s := newShop(t)
		tr := with(s, nil)
		s.uncertain(tr)
		s.set(func() { s.lose = 1 })
		if stats := once(t, reconciler(t, tr)); stats.Settled != 0 || stats.Failed != 1 {
			t.Errorf("%+v", stats)
		}
		s.is(2, 1)
	})
	t.Run("no credentials are kept", func(t *testing.T) {
		s := newShop(t)
		tr := with(s, nil)
		s.uncertain(tr)
		page, err := tr.Guard.Store().List(t.Context(), onceguard.Filter{Limit: 10})
		if err != nil || len(page.Records) != 1 {
			t.Fatalf("%v %v", page, err)
		}
		if in := string(page.Records[0].Input); !strings.Contains(in, "/payments") || strings.Contains(in, "canary") {
			t.Errorf("kept: %s", in)
		}
	})
}
