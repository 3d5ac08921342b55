package stripetest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"
	"github.com/stripe/stripe-mock/spec"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

// TestShapes: a guarded request is still one that Stripe's own OpenAPI document
// allows, and what the SDK reads from a receipt is what it read from the response.
func TestShapes(t *testing.T) {
	var document spec.Spec
	if err := json.Unmarshal(embedded.OpenAPISpec, &document); err != nil {
		t.Fatal(err)
	}
	var fixtures spec.Fixtures
	if err := json.Unmarshal(embedded.OpenAPIFixtures, &fixtures); err != nil {
		t.Fatal(err)
	}
	stub, err := server.NewStubServer(&fixtures, &document, false, false)
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		stub.HandleRequest(w, r)
	}))
	defer srv.Close()
	transport := &httpguard.Transport{Guard: guardtest.New(t), Base: &http.Transport{DisableKeepAlives: true}, Rules: []httpguard.Rule{
		{Action: "refund.create", Pattern: "POST 127.0.0.1/v1/refunds", Preset: httpguard.Stripe},
		{Action: "intent.create", Pattern: "POST 127.0.0.1/v1/payment_intents", Preset: httpguard.Stripe},
	}}
	client := stripe.NewClient("sk_test_x", stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(srv.URL), HTTPClient: &http.Client{Transport: transport}, MaxNetworkRetries: stripe.Int64(0),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull}, EnableTelemetry: stripe.Bool(false),
	})))
	ctx := httpguard.WithKey(t.Context(), "refund.create", onceguard.KeyOf("order", "o1"))
	ctx = httpguard.WithKey(ctx, "intent.create", onceguard.KeyOf("order", "o1"))
	var refunds, intents []string
	for range 2 {
		refund, err := client.V1Refunds.Create(ctx, &stripe.RefundCreateParams{PaymentIntent: stripe.String("pi_1"), Amount: stripe.Int64(100)})
		if err != nil {
			t.Fatal(err)
		}
		refunds = append(refunds, string(refund.LastResponse.RawJSON))
		intent, err := client.V1PaymentIntents.Create(ctx, &stripe.PaymentIntentCreateParams{Amount: stripe.Int64(100), Currency: stripe.String("eur")})
		if err != nil {
			t.Fatal(err)
		}
		intents = append(intents, string(intent.LastResponse.RawJSON))
	}
	if refunds[0] != refunds[1] || intents[0] != intents[1] || refunds[0] == intents[0] {
		t.Errorf("what was read differs: %q, %q", refunds, intents)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want one each", n)
	}
}
