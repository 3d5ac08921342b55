package webhookguard

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Slack verifies deliveries of Slack's Events API: X-Slack-Signature "v0=…",
// HMAC-SHA256 over "v0:timestamp:body", hexadecimal. The id is the body's
// event_id; the event's time is event_time. A url_verification becomes a
// Challenge. Slack waits three seconds and tries three more times within an hour
// (docs.slack.dev/apis/events-api).
//
// Slash commands and interactions carry no event id and are refused as malformed.
func Slack(secretTexts ...string) Source {
	s, err := textSecrets(secretTexts)
	if err != nil {
		return broken{"slack", err}
	}
	return slack{clock{DefaultTolerance}, s}
}

type slack struct {
	clock
	secrets secrets
}

// Provider implements Source.
func (slack) Provider() string { return "slack" }

// Verify implements Source.
func (s slack) Verify(h http.Header, body []byte, now time.Time) (Event, error) {
	sig, err := one(h, "X-Slack-Signature")
	if err != nil {
		return Event{}, err
	}
	stamp, err := one(h, "X-Slack-Request-Timestamp")
	if err != nil {
		return Event{}, err
	}
	text, ok := strings.CutPrefix(sig, "v0=")
	raw, err := hex.DecodeString(text)
	if !ok || err != nil || !s.secrets.sha256([][]byte{raw}, []byte("v0:"), []byte(stamp), []byte(":"), body) {
		return Event{}, ErrSignature
	}
	if err := s.check(stamp, now); err != nil {
		return Event{}, err
	}
	var payload struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
		EventID   string `json:"event_id"`
		EventTime int64  `json:"event_time"`
		TeamID    string `json:"team_id"`
		Event     struct {
			Type string `json:"type"`
		} `json:"event"`
	}
	if err := json.Unmarshal(body, &payload); err != nil {
		return Event{}, fmt.Errorf("%w: the body is not JSON of the Events API", ErrMalformed)
	}
	if payload.Type == "url_verification" {
		return Event{Type: payload.Type, Challenge: []byte(payload.Challenge)}, nil
	}
	if payload.EventID == "" {
		return Event{}, fmt.Errorf("%w: the body has no event_id", ErrMalformed)
	}
	e := Event{ID: payload.EventID, Type: payload.Event.Type}
	if payload.EventTime > 0 {
		e.Time = plausible(time.Unix(payload.EventTime, 0).UTC())
	}
	return e, nil
}
