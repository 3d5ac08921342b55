package httpguard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/underway"
)

// Middleware guards handlers; New makes it. It is safe for concurrent use and
// may wrap several handlers.
type Middleware struct {
	guard   *onceguard.Guard
	opts    Options
	allowed map[string]bool
	waiting waiters
	early   underway.Count // handlers that may outlive their ServeHTTP
}

// New returns the guard of one kind of request. It refuses options that could
// not protect anything.
func New(g *onceguard.Guard, o Options) (*Middleware, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("httpguard: %w", err)
	}
	allowed, err := allowList(o.StoreHeaders)
	if err != nil {
		return nil, fmt.Errorf("httpguard: %w", err)
	}
	if err := probe(g, o); err != nil {
		return nil, fmt.Errorf("httpguard: %w", err)
	}
	return &Middleware{guard: g, opts: o, allowed: allowed}, nil
}

// Must returns m, and panics on an error: for routes that are declared at the
// start of a program.
func Must(m *Middleware, err error) *Middleware {
	if err != nil {
		panic(err)
	}
	return m
}

// Wrap returns next behind the guard. Requests with other methods than the
// guarded ones, and those without a key where AllowMissing is set, reach next
// untouched.
//
// A panic of next is an unknown outcome: it is stored as such, and goes on as
// it came (also http.ErrAbortHandler), so that the client sees what it would
// see without the guard.
func (m *Middleware) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.guards(r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		m.serve(w, r, next)
	})
}

// Drain waits for handlers that went on after their ServeHTTP (EarlyReturn), or
// until ctx ends. Call it after http.Server.Shutdown, before the guard is closed.
func (m *Middleware) Drain(ctx context.Context) error {
	if err := m.early.Wait(ctx); err != nil {
		return fmt.Errorf("httpguard: handlers of %s still run; what they do may have happened: %w", m.opts.Action, err)
	}
	return nil
}

func (m *Middleware) guards(method string) bool {
	if m.opts.Methods != nil {
		return slices.Contains(m.opts.Methods, method)
	}
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return false
	}
	return true
}

// exchange is one guarded request on its way.
type exchange struct {
	*Middleware
	w     http.ResponseWriter
	r     *http.Request
	next  http.Handler
	body  []byte
	scope string
	id    onceguard.RequestID
	wait  time.Duration // of a duplicate; negative: none
	// prefer is how long a first caller wants to wait; negative: to the end.
	prefer time.Duration

	mu     sync.Mutex
	rec    *recorder       // of the handler, once it has started
	effect context.Context // its context
	away   bool            // ServeHTTP has returned without it
	cut    bool            // the client has a part of a response that was taken over

	// Written by the run, read when it is over.
	live  response              // what the handler answered
	ended bool                  // it has returned
	class onceguard.StatusClass // what the answer means
	over  bool                  // MaxRun ended its context
}

func (m *Middleware) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	// A key that is missing or malformed is told before the body is read.
	if m.opts.Key == nil {
		_, err := m.key(r, nil)
		if !m.keyed(w, r, next, err) {
			return
		}
	}
	scope, ok := m.scope(w, r)
	if !ok {
		return
	}
	body, digest, err := m.readBody(w, r)
	switch {
	case errors.Is(err, errTooLarge):
		m.problem(ProblemBodyTooLarge).write(w)
		return
	case err != nil:
		m.problem(ProblemBodyUnreadable).write(w)
		return
	}
	key, err := m.key(r, body)
	r = withBody(r, body)
	if !m.keyed(w, r, next, err) {
		return
	}
	meaning, err := m.meaning(r, body, digest)
	if err != nil {
		m.problem(ProblemBodyUnreadable).write(w)
		return
	}
	id, err := onceguard.NewRequestID(scope, m.opts.Action, key)
	if err != nil {
		m.misconfigured(w, r, err)
		return
	}
	e := &exchange{Middleware: m, w: w, r: r, next: next, body: body, scope: scope, id: id}
	e.patience()
	if m.waiting.enter(id) > m.opts.MaxWaiters+1 {
		e.wait = -1
	}
	defer m.waiting.leave(id)
	e.serve(onceguard.Request{
		Action: m.opts.Action, Key: key, RawInput: meaning, Policy: m.opts.Policy, Codec: responses, Limits: m.opts.Limits,
	})
}

// keyed answers for what is wrong with the key; it is true when nothing is.
func (m *Middleware) keyed(w http.ResponseWriter, r *http.Request, next http.Handler, err error) bool {
	switch {
	case err == nil:
		return true
	case !errors.Is(err, errNoKey):
		p := m.problem(ProblemKeyMalformed)
		p.Detail = "The key could not be read: " + err.Error() + ". Nothing was run."
		p.write(w)
	case m.opts.AllowMissing:
		next.ServeHTTP(w, r)
	default:
		m.problem(ProblemKeyMissing).write(w)
	}
	return false
}

func (m *Middleware) scope(w http.ResponseWriter, r *http.Request) (string, bool) {
	scope, err := m.opts.Scope(r)
	if err != nil || scope == "" {
		m.opts.Logger.WarnContext(r.Context(), "httpguard: no scope; nothing was run", "action", m.opts.Action, "error", err)
		m.problem(ProblemScopeDenied).write(w)
		return "", false
	}
	return scope, true
}

func (m *Middleware) misconfigured(w http.ResponseWriter, r *http.Request, err error) {
	m.opts.Logger.ErrorContext(r.Context(), "httpguard: the request cannot be guarded; nothing was run", "action", m.opts.Action, "error", err)
	m.problem(ProblemMisconfigured).write(w)
}

// withBody is r with a body that was read already.
func withBody(r *http.Request, body []byte) *http.Request {
	c := *r
	c.Body, c.ContentLength, c.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	return &c
}

// patience sets how long this request waits, from the route and from Prefer.
func (e *exchange) patience() {
	e.wait, e.prefer = e.opts.Limits.Wait, -1
	asked, ok := preferredWait(e.r.Header)
	if !ok {
		return
	}
	switch {
	case asked == 0:
		e.wait = -1
	case e.wait == 0:
		e.wait = min(asked, onceguard.DefaultWait)
	default:
		e.wait = min(asked, e.wait)
	}
	if e.opts.EarlyReturn {
		e.prefer = asked
	}
}
