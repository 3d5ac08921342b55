package webhookguard

import (
	"net/http"
	"time"
)

// Named gives a source another provider name, where several senders sign alike:
// their event ids must not meet.
func Named(name string, s Source) Source { return named{s, name} }

type named struct {
	Source
	name string
}

func (n named) Provider() string { return n.name }

func (n named) Verify(h http.Header, body []byte, now time.Time) (Event, error) {
	return n.Source.Verify(h, body, now)
}

func (n named) Meaning(body []byte) []byte { return meaningOf(n.Source, body) }

func meaningOf(s Source, body []byte) []byte {
	if m, ok := s.(Meaner); ok {
		return m.Meaning(body)
	}
	return body
}
