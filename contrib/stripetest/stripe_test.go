package stripetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

// api answers in the shape of Stripe's refunds, and misbehaves as told.
type api struct {
	mu       sync.Mutex
	effects  int
	keys     []string
	byKey    map[string]int
	versions int
	behave   []string // of the next requests: "", "lost", "busy", "error", "declined", "unauthorized"
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	a.keys = append(a.keys, key)
	if r.Header.Get("Stripe-Version") != "" {
		a.versions++
	}
	how := ""
	if len(a.behave) > 0 {
		how, a.behave = a.behave[0], a.behave[1:]
	}
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, kind, code string) {
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":{"type":%q,"code":%q,"message":"no"}}`, kind, code)
	}
	switch how {
	case "busy":
		refuse(http.StatusConflict, "idempotency_error", "idempotency_key_in_use")
		return
	case "declined":
		refuse(http.StatusPaymentRequired, "card_error", "card_declined")
		return
	case "unauthorized":
		refuse(http.StatusUnauthorized, "invalid_request_error", "api_key_expired")
		return
	}
	n, known := a.byKey[key]
	if !known {
		a.effects++
		n = a.effects
		a.byKey[key] = n
	}
	switch how {
	case "lost":
		panic(http.ErrAbortHandler)
	case "error":
		refuse(http.StatusInternalServerError, "api_error", "")
		return
	}
	_, _ = fmt.Fprintf(w, `{"id":"re_%d","object":"refund","amount":%s,"status":"succeeded"}`, n, r.FormValue("amount"))
}

// world is Stripe's SDK with its own retries, over the guard.
type world struct {
	t      *testing.T
	api    *api
	guard  *onceguard.Guard
	client *stripe.Client
}

func newWorld(t *testing.T, policy onceguard.Policy, behave ...string) *world {
	w := &world{t: t, api: &api{byKey: map[string]int{}, behave: behave}, guard: guardtest.New(t)}
	srv := httptest.NewServer(w.api)
	t.Cleanup(srv.Close)
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	transport := &httpguard.Transport{Guard: w.guard, Base: base, Rules: []httpguard.Rule{{
		Action: "refund.create", Pattern: "POST 127.0.0.1/v1/refunds", Preset: httpguard.Stripe, Policy: policy,
	}}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := transport.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	backends := stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(srv.URL), HTTPClient: &http.Client{Transport: transport}, MaxNetworkRetries: stripe.Int64(2),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}, EnableTelemetry: stripe.Bool(false),
	})
	backends.API.(*stripe.BackendImplementation).SetNetworkRetriesSleep(false)
	w.client = stripe.NewClient("sk_test_x", stripe.WithBackends(backends))
	return w
}

func (w *world) refund(order string, amount int64) (*stripe.Refund, error) {
	ctx := httpguard.WithKey(w.t.Context(), "refund.create", onceguard.KeyOf("order", order))
	params := &stripe.RefundCreateParams{PaymentIntent: stripe.String("pi_1"), Amount: stripe.Int64(amount)}
	for i := range 8 {
		params.AddMetadata(fmt.Sprint("field", i), order)
	}
	return w.client.V1Refunds.Create(ctx, params)
}

func (w *world) is(requests, effects int) {
	w.t.Helper()
	w.api.mu.Lock()
	defer w.api.mu.Unlock()
	if len(w.api.keys) != requests || w.api.effects != effects {
		w.t.Errorf("%d requests and %d effects, want %d and %d", len(w.api.keys), w.api.effects, requests, effects)
	}
	for _, k := range w.api.keys {
		if len(k) != 52 || k != w.api.keys[0] {
			w.t.Errorf("keys %q: want the guard's downstream key every time, not the SDK's", w.api.keys)
		}
	}
	if w.api.versions != requests {
		w.t.Error("the requests are not the SDK's")
	}
}

func TestReplay(t *testing.T) {
	w := newWorld(t, onceguard.AtMostOnce)
	first, err := w.refund("o1", 100)
	if err != nil || first.ID != "re_1" {
		t.Fatal(first, err)
	}
	for range 5 { // also where the SDK would write a map's fields in another order
		again, err := w.refund("o1", 100)
		if err != nil || again.ID != "re_1" || again.Amount != 100 {
			t.Fatal(again, err)
		}
		if again.LastResponse.Header.Get(httpguard.HeaderFromReceipt) != "true" {
			t.Error("not from the receipt")
		}
	}
	if _, err := w.refund("o1", 200); !errors.Is(err, onceguard.ErrMismatch) {
		t.Errorf("got %v", err)
	}
	w.is(1, 1)
}

// TestLostAnswer: the SDK retries by itself, and its retries send nothing.
func TestLostAnswer(t *testing.T) {
	for _, how := range []string{"lost", "error"} {
		w := newWorld(t, onceguard.AtMostOnce, how)
		for range 2 {
			if _, err := w.refund("o1", 100); !errors.Is(err, onceguard.ErrUncertain) {
				t.Errorf("%s: got %v", how, err)
			}
		}
		w.is(1, 1)
	}
}

// TestSafeRetry: under safe-retry the SDK's own retry collects the answer.
func TestSafeRetry(t *testing.T) {
	policy, err := httpguard.Stripe.SafeRetry()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, policy, "lost", "busy")
	refund, err := w.refund("o1", 100)
	if err != nil || refund.ID != "re_1" {
		t.Fatal(refund, err)
	}
	w.is(3, 1)
}

// TestRefusals: the SDK reads the same error from the response and from the
// receipt, and a wrong API key is no refusal.
func TestRefusals(t *testing.T) {
	w := newWorld(t, onceguard.AtMostOnce, "declined")
	for range 2 {
		var se *stripe.Error
		if _, err := w.refund("o1", 100); !errors.As(err, &se) || se.Code != stripe.ErrorCodeCardDeclined {
			t.Errorf("got %v", err)
		}
	}
	w.is(1, 0)
	w = newWorld(t, onceguard.AtMostOnce, "unauthorized")
	var se *stripe.Error
	if _, err := w.refund("o1", 100); !errors.As(err, &se) || se.HTTPStatusCode != http.StatusUnauthorized {
		t.Errorf("got %v", err)
	}
	if refund, err := w.refund("o1", 100); err != nil || refund.ID != "re_1" {
		t.Error(refund, err)
	}
	w.is(2, 1)
}
