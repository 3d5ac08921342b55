package webhookguard

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// GitHub verifies GitHub's deliveries: X-Hub-Signature-256, HMAC-SHA256 over the
// body, hexadecimal. The id is X-GitHub-Delivery, a GUID that a redelivery keeps.
//
// GitHub signs neither the GUID nor a time. TLS is what keeps a delivery from
// being captured and sent again under another GUID, which no receiver can tell
// from a new event. GitHub does not retry by itself: a person or a script
// redelivers what failed, within three days.
func GitHub(secretTexts ...string) Source {
	s, err := textSecrets(secretTexts)
	if err != nil {
		return broken{"github", err}
	}
	return github{s}
}

type github struct{ secrets secrets }

// Provider implements Source.
func (github) Provider() string { return "github" }

// Verify implements Source.
func (g github) Verify(h http.Header, body []byte, _ time.Time) (Event, error) {
	sig, err := one(h, "X-Hub-Signature-256")
	if err != nil {
		return Event{}, err
	}
	text, ok := strings.CutPrefix(sig, "sha256=")
	raw, err := hex.DecodeString(text)
	if !ok || err != nil || !g.secrets.sha256([][]byte{raw}, body) {
		return Event{}, ErrSignature
	}
	id, err := one(h, "X-Github-Delivery")
	if err != nil {
		return Event{}, fmt.Errorf("%w, without which a delivery has no identity", err)
	}
	return Event{ID: id, Type: h.Get("X-Github-Event")}, nil
}
