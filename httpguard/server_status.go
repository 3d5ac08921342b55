package httpguard

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/onceguard/onceguard"
)

// Status is what the status endpoint answers.
type Status struct {
	RequestID string    `json:"request_id"`
	State     string    `json:"state"` // claimed, released, uncertain, succeeded or failed
	Attempt   int64     `json:"attempt"`
	Since     time.Time `json:"since"` // when it entered the state, by the store's clock, to the second
	SettledBy string    `json:"settled_by,omitempty"`
	// Retry is what the client should do: RetrySameKey collects the answer or
	// starts what surely did not happen.
	Retry string `json:"retry"`
}

// Status returns a handler that tells what became of the request with a key, to
// callers of the same scope: GET with the header Idempotency-Key (or what
// Options.Key reads). It changes nothing and shows no response; a retry of the
// request collects that. Register it behind the same authentication as the
// guarded route. An unknown key is answered with 404, which is no leave to use
// another key: the request may still be on its way. It sees no request body, so
// Options.Principal is not checked: where principals of one scope must not see each
// other's states, put the principal into the scope.
func (m *Middleware) Status() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		m.serveStatus(w, r)
	})
}

func (m *Middleware) serveStatus(w http.ResponseWriter, r *http.Request) {
	key, err := m.key(r, nil)
	if errors.Is(err, errNoKey) {
		m.problem(ProblemKeyMissing).write(w) // also where the route itself allows it
		return
	}
	if !m.keyed(w, r, nil, err) {
		return
	}
	scope, ok := m.scope(w, r)
	if !ok {
		return
	}
	id, err := onceguard.NewRequestID(scope, m.opts.Action, key)
	if err != nil {
		m.misconfigured(w, r, err)
		return
	}
	e := &exchange{Middleware: m, w: w, r: r, id: id}
	answers, err := m.guard.Store().Get(r.Context(), []onceguard.RequestID{id})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		e.tell(ProblemStoreUnavailable, nil)
		return
	}
	rec := answers[0].Record
	if answers[0].Outcome == onceguard.Missing {
		e.tell(ProblemUnknownKey, nil)
		return
	}
	s := Status{RequestID: id.String(), State: rec.State.String(), Attempt: rec.Attempt, Since: rec.Since.UTC().Truncate(time.Second), SettledBy: rec.SettledBy, Retry: RetrySameKey}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if rec.State == onceguard.Claimed {
		left := max(rec.LeaseLeft(answers[0].Now), time.Second)
		h.Set("Retry-After", strconv.FormatInt(int64((left+time.Second-1)/time.Second), 10))
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(s)
}
