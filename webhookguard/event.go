package webhookguard

import (
	"net/http"
	"time"

	"github.com/onceguard/onceguard"
)

// Event is a verified delivery.
type Event struct {
	Provider string    // of the Source, such as "stripe"
	Endpoint string    // Options.Endpoint
	ID       string    // the sender's identity of the event, the same on every delivery
	Type     string    // such as "invoice.paid"; empty where the sender names none
	Time     time.Time // when the event arose, by its sender; zero where none is given
	Body     []byte    // the raw body that was signed
	Header   http.Header

	// Challenge, where not nil, is not an event but a question whose answer this is
	// (Slack's url_verification).
	Challenge []byte
	// parts are what belongs to the identity besides the id, in pairs.
	parts []any
}

// Key is the event's identity: provider, endpoint, event id, and what else the
// provider's ids need. It carries the event's time where there is one, so that an
// event older than the memory is never handled anew.
func (e Event) Key() onceguard.Key {
	pairs := append([]any{"provider", e.Provider, "endpoint", e.Endpoint, "event", e.ID}, e.parts...)
	k := onceguard.KeyOf(pairs...)
	if !e.Time.IsZero() {
		k = k.WithIssuedAt(e.Time)
	}
	return k
}

// Source verifies the deliveries of one sender. The ones of this package are made
// by StandardWebhooks, Svix, Stripe, GitHub, Shopify, Slack and HMAC.
type Source interface {
	// Provider names the sender. It is part of every event's identity.
	Provider() string
	// Verify checks a delivery's signature over the raw body, and only then reads
	// the event's identity. now is judged against the timestamp of the attempt.
	// Errors are ErrSignature, ErrTimestamp, ErrMalformed or wrap one of them; they
	// are for logs and hold no secret.
	Verify(h http.Header, body []byte, now time.Time) (Event, error)
}

// Meaner is a second interface of a Source whose sender changes parts of a body
// between deliveries of one event: Meaning is what must stay the same.
type Meaner interface {
	Meaning(body []byte) []byte
}
