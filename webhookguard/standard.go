package webhookguard

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// StandardWebhooks verifies deliveries of the Standard Webhooks specification
// (standardwebhooks.com): headers webhook-id, webhook-timestamp and
// webhook-signature, HMAC-SHA256 over "id.timestamp.body", signatures "v1,BASE64".
// Secrets are "whsec_" and base64, or the base64 alone. Name the sender by Named,
// if several use it.
func StandardWebhooks(secretTexts ...string) Source {
	return newStandard("standardwebhooks", "Webhook-", secretTexts)
}

// Svix verifies deliveries that Svix sends, with svix-id, svix-timestamp and
// svix-signature; otherwise as StandardWebhooks.
func Svix(secretTexts ...string) Source { return newStandard("svix", "Svix-", secretTexts) }

type standard struct {
	clock
	provider string
	prefix   string
	secrets  secrets
}

func newStandard(provider, prefix string, texts []string) Source {
	var keys [][]byte
	for i, text := range texts {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		if err != nil || len(key) == 0 {
			return broken{provider, fmt.Errorf("webhookguard: %s: secret %d is not base64 after whsec_", provider, i+1)}
		}
		keys = append(keys, key)
	}
	s, err := keep(keys)
	if err != nil {
		return broken{provider, err}
	}
	return standard{clock{DefaultTolerance}, provider, prefix, s}
}

// Provider implements Source.
func (s standard) Provider() string { return s.provider }

// Verify implements Source.
func (s standard) Verify(h http.Header, body []byte, now time.Time) (Event, error) {
	id, err := one(h, s.prefix+"Id")
	if err != nil {
		return Event{}, err
	}
	stamp, err := one(h, s.prefix+"Timestamp")
	if err != nil {
		return Event{}, err
	}
	list, err := one(h, s.prefix+"Signature")
	if err != nil {
		return Event{}, err
	}
	var signatures [][]byte
	for sig := range strings.FieldsSeq(list) {
		version, text, _ := strings.Cut(sig, ",")
		raw, err := base64.StdEncoding.Strict().DecodeString(text)
		if version == "v1" && err == nil && len(signatures) < maxSignatures {
			signatures = append(signatures, raw)
		}
	}
	if !s.secrets.sha256(signatures, []byte(id), []byte("."), []byte(stamp), []byte("."), body) {
		return Event{}, ErrSignature
	}
	if err := s.check(stamp, now); err != nil {
		return Event{}, err
	}
	e := Event{ID: id}
	// The specification recommends type and timestamp, the event's own time.
	var payload struct {
		Type      string    `json:"type"`
		Timestamp time.Time `json:"timestamp"`
	}
	if json.Unmarshal(body, &payload) == nil {
		e.Type, e.Time = payload.Type, plausible(payload.Timestamp)
	}
	return e, nil
}
