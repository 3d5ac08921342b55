package httpguard

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// DefaultProblemBase begins the type URIs of problems, as in
// urn:onceguard:problem:in-progress. The files docs/problems/NAME.md document
// them; a service that publishes them sets Options.ProblemBase to their address.
const DefaultProblemBase = "urn:onceguard:problem:"

// The names of the problems. They never change. Each line says whether the
// handler ran by this request or an earlier one with the same key.
const (
	ProblemKeyMissing       = "key-missing"       // 400: nothing ran
	ProblemKeyMalformed     = "key-malformed"     // 400: nothing ran
	ProblemBodyUnreadable   = "body-unreadable"   // 400: nothing ran
	ProblemScopeDenied      = "scope-denied"      // 403: nothing ran
	ProblemUnknownKey       = "unknown-key"       // 404: no request with this key is known (status endpoint)
	ProblemInProgress       = "in-progress"       // 409: it may be running
	ProblemOutcomeUnknown   = "outcome-unknown"   // 500, 504, 409: it may have happened
	ProblemAlreadyCompleted = "already-completed" // 409: the outcome is known, its response is not kept
	ProblemKeyExpired       = "key-expired"       // 412: this request ran nothing
	ProblemBodyTooLarge     = "body-too-large"    // 413: nothing ran
	ProblemKeyReused        = "key-reused"        // 422: this request ran nothing
	ProblemMisconfigured    = "misconfigured"     // 500: nothing ran
	ProblemStoreUnavailable = "store-unavailable" // 503: this request ran nothing
	ProblemStoreFrozen      = "store-frozen"      // 503: this request ran nothing
)

// What a client should do next, in Problem.Retry.
const (
	RetrySameKey = "same-key" // send the same request again, later, with the same key
	RetryNewKey  = "new-key"  // this key will not work: nothing ran under it
	RetryNo      = "no"       // another try changes nothing until somebody acts
)

// Problem is the body of the middleware's own answers, an RFC 9457 document of
// type application/problem+json.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`

	Retry         string     `json:"retry"`                    // a Retry constant
	RequestID     string     `json:"request_id,omitempty"`     // of the guarded request, for support
	State         string     `json:"state,omitempty"`          // of its record
	Since         *time.Time `json:"since,omitempty"`          // when it entered the state, by the store's clock, to the second
	Attempt       int64      `json:"attempt,omitempty"`        // number of the attempt
	HandlerStatus int        `json:"handler_status,omitempty"` // of the response that is not repeated
	Body          string     `json:"body,omitempty"`           // why a completed request's response is not kept

	retryAfter time.Duration
	body       func(Problem) any // Options.ProblemBody
}

// catalogue holds the fixed part of each problem.
var catalogue = map[string]Problem{
	ProblemKeyMissing: {
		Status: http.StatusBadRequest, Retry: RetryNewKey, Title: "Idempotency-Key is missing",
		Detail: "This operation needs the header Idempotency-Key, the same on every retry of one intention. Nothing was run.",
	},
	ProblemKeyMalformed: {
		Status: http.StatusBadRequest, Retry: RetryNewKey, Title: "Idempotency-Key is malformed",
		Detail: "The key could not be read. Nothing was run.",
	},
	ProblemBodyUnreadable: {
		Status: http.StatusBadRequest, Retry: RetrySameKey, Title: "The request body could not be read",
		Detail: "The body ended early or has not the form that this operation needs. Nothing was run.",
	},
	ProblemScopeDenied: {
		Status: http.StatusForbidden, Retry: RetryNo, Title: "The caller has no scope",
		Detail: "The request cannot be told to belong to a tenant. Nothing was run.",
	},
	ProblemUnknownKey: {
		Status: http.StatusNotFound, Retry: RetrySameKey, Title: "No request with this key is known",
		Detail: "No request with this key was started, or it is older than what is remembered. A request that is still on its way may start yet.",
	},
	ProblemInProgress: {
		Status: http.StatusConflict, Retry: RetrySameKey, Title: "The request is in progress",
		Detail: "A request with this key is being handled. Retry with the same key, never a new one, to collect its answer.",
	},
	ProblemOutcomeUnknown: {
		Status: http.StatusConflict, Retry: RetrySameKey, Title: "The outcome is unknown",
		Detail: "The operation may or may not have happened, and is not started again until that is known. Retry with the same key, never a new one.",
	},
	ProblemAlreadyCompleted: {
		Status: http.StatusConflict, Retry: RetryNo, Title: "The request is completed and its response is not kept",
		Detail: "The operation is finished as the state says, and was not run again. Read the resource itself.",
	},
	ProblemKeyExpired: {
		Status: http.StatusPreconditionFailed, Retry: RetryNo, Title: "The key is older than what is remembered",
		Detail: "Nothing was run by this request. Whether one with this key ran long ago is not known here; find out before you use a new key.",
	},
	ProblemBodyTooLarge: {
		Status: http.StatusRequestEntityTooLarge, Retry: RetryNo, Title: "The request body is too large",
		Detail: "The body is larger than this operation accepts. Nothing was run.",
	},
	ProblemKeyReused: {
		Status: http.StatusUnprocessableEntity, Retry: RetryNo, Title: "The key belongs to another request",
		Detail: "This key was used for a request with another content. Nothing was run by this request.",
	},
	ProblemMisconfigured: {
		Status: http.StatusInternalServerError, Retry: RetryNo, Title: "The guard of this operation is misconfigured",
		Detail: "Nothing was run by this request. The operator's log says more.",
	},
	ProblemStoreUnavailable: {
		Status: http.StatusServiceUnavailable, Retry: RetrySameKey, Title: "The memory of requests does not answer",
		Detail:     "Nothing was run by this request; an earlier one with the same key may have. Retry with the same key, never a new one.",
		retryAfter: 5 * time.Second,
	},
	ProblemStoreFrozen: {
		Status: http.StatusServiceUnavailable, Retry: RetrySameKey, Title: "The memory of requests may have lost something",
		Detail:     "Nothing was run by this request; an earlier one with the same key may have. Operations are stopped until an operator has looked. Retry with the same key, never a new one.",
		retryAfter: 30 * time.Second,
	},
}

// at sets when the record entered its state.
func (p *Problem) at(t time.Time) {
	if !t.IsZero() {
		t = t.UTC().Truncate(time.Second)
		p.Since = &t
	}
}

// problem starts a problem from the catalogue.
func (m *Middleware) problem(name string) Problem {
	p := catalogue[name]
	p.Type, p.body = m.opts.ProblemBase+name, m.opts.ProblemBody
	return p
}

// write answers with p. No cache may keep it: the next try may see another.
func (p Problem) write(w http.ResponseWriter) {
	body, err := []byte(nil), errors.ErrUnsupported
	if p.body != nil {
		body, err = json.MarshalIndent(p.body(p), "", "  ")
	}
	if err != nil {
		body, err = json.MarshalIndent(p, "", "  ")
	}
	if err != nil {
		panic("httpguard: a problem cannot be encoded: " + err.Error()) // strings, numbers and times always can
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.retryAfter+time.Second-1)/time.Second), 10))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}
