package webhookguard

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// Stripe verifies Stripe's deliveries: Stripe-Signature "t=…,v1=…", HMAC-SHA256
// over "t.body". The id is the event's, evt_…, the same on every delivery; its
// time is the event's created. Stripe retries for up to three days and in no
// order (docs.stripe.com/webhooks).
func Stripe(secretTexts ...string) Source {
	s, err := textSecrets(secretTexts)
	if err != nil {
		return broken{"stripe", err}
	}
	return stripe{clock{DefaultTolerance}, s}
}

type stripe struct {
	clock
	secrets secrets
}

// Provider implements Source.
func (stripe) Provider() string { return "stripe" }

// Verify implements Source.
func (s stripe) Verify(h http.Header, body []byte, now time.Time) (Event, error) {
	list, err := one(h, "Stripe-Signature")
	if err != nil {
		return Event{}, err
	}
	var stamp string
	var signatures [][]byte
	for item := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		switch name {
		case "t":
			if stamp != "" {
				return Event{}, fmt.Errorf("%w: two timestamps", ErrMalformed)
			}
			stamp = value
		case "v1": // v0 is for test events and no signature
			if raw, err := hex.DecodeString(value); err == nil && len(signatures) < maxSignatures {
				signatures = append(signatures, raw)
			}
		}
	}
	if !s.secrets.sha256(signatures, []byte(stamp), []byte("."), body) {
		return Event{}, ErrSignature
	}
	if err := s.check(stamp, now); err != nil {
		return Event{}, err
	}
	var payload struct {
		ID      string          `json:"id"`
		Type    string          `json:"type"`
		Created json.RawMessage `json:"created"` // seconds, or RFC 3339 in thin events
	}
	if err := json.Unmarshal(body, &payload); err != nil || payload.ID == "" {
		return Event{}, fmt.Errorf("%w: the body is not an event with an id", ErrMalformed)
	}
	e := Event{ID: payload.ID, Type: payload.Type}
	var seconds int64
	var at time.Time
	switch {
	case json.Unmarshal(payload.Created, &seconds) == nil:
		e.Time = plausible(time.Unix(seconds, 0).UTC())
	case json.Unmarshal(payload.Created, &at) == nil:
		e.Time = plausible(at)
	}
	return e, nil
}

// Meaning implements Meaner: Stripe counts pending_webhooks down between the
// deliveries of one event.
func (stripe) Meaning(body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return body
	}
	delete(fields, "pending_webhooks")
	rest, err := json.Marshal(fields)
	if err != nil {
		return body
	}
	canonical, err := onceguard.CanonicalJSON(rest)
	if err != nil {
		return body
	}
	return canonical
}
