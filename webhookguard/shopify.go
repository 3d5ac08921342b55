package webhookguard

import (
	"encoding/base64"
	"net/http"
	"time"
)

// Shopify verifies Shopify's deliveries: X-Shopify-Hmac-Sha256, HMAC-SHA256 over
// the body, base64. The id is X-Shopify-Event-Id, which several subscriptions of
// one app share: shop, topic and sub-topic belong to the identity, as the endpoint
// does (shopify.dev/docs/apps/build/webhooks/ignore-duplicates). The event's time
// is X-Shopify-Triggered-At. As with GitHub, headers are not signed.
func Shopify(secretTexts ...string) Source {
	s, err := textSecrets(secretTexts)
	if err != nil {
		return broken{"shopify", err}
	}
	return shopify{s}
}

type shopify struct{ secrets secrets }

// Provider implements Source.
func (shopify) Provider() string { return "shopify" }

// Verify implements Source.
func (s shopify) Verify(h http.Header, body []byte, _ time.Time) (Event, error) {
	sig, err := one(h, "X-Shopify-Hmac-Sha256")
	if err != nil {
		return Event{}, err
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(sig)
	if err != nil || !s.secrets.sha256([][]byte{raw}, body) {
		return Event{}, ErrSignature
	}
	id, err := one(h, "X-Shopify-Event-Id")
	if err != nil {
		return Event{}, err
	}
	shop, err := one(h, "X-Shopify-Shop-Domain")
	if err != nil {
		return Event{}, err
	}
	topic, err := one(h, "X-Shopify-Topic")
	if err != nil {
		return Event{}, err
	}
	e := Event{ID: id, Type: topic, parts: []any{"shop", shop, "topic", topic}}
	if sub := h.Get("X-Shopify-Sub-Topic"); sub != "" {
		e.parts = append(e.parts, "sub-topic", sub)
	}
	if at, err := time.Parse(time.RFC3339Nano, h.Get("X-Shopify-Triggered-At")); err == nil {
		e.Time = plausible(at)
	}
	return e, nil
}
