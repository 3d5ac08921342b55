package httpguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/underway"
)

// HeaderFromReceipt is set to "true" on a response that Transport gives back
// from a receipt: nothing was sent. It is not HeaderReplayed, which is what a
// provider says about its own memory.
const HeaderFromReceipt = "Onceguard-Replayed"

// HeaderReceipt is set to "pending" on a response whose outcome is known and not
// stored yet; the guard goes on trying.
const HeaderReceipt = "Onceguard-Receipt"

// Transport is an http.RoundTripper that guards outgoing writes: a request that
// a Rule names, or whose context has a key (WithKey), is sent at most once per
// action and key, and a retry gets the stored response. Other requests go to
// Base as they are, except that a write to a host which a rule names, without a
// rule or a key of its own, is an error.
//
// What a caller sees:
//
//   - 2xx, or a refusal (4xx): the response; on a retry the same status, stored
//     headers and bytes with HeaderFromReceipt, and nothing is sent.
//   - a status that the provider gives before any work, such as 401: the
//     response; the request may be tried again.
//   - anything that leaves open whether the provider acted (a broken
//     connection, a timeout, 5xx, 408, 409, 425, a redirect): an *onceguard.Error
//     that is ErrUncertain, also where there was a response, which is then its
//     cause, a *ResponseError. http.Client thus never follows the redirect of a
//     guarded write, and no code mistakes a 500 for "did not happen".
//   - every other error of onceguard.Do, as it is.
//
// The end of the request's context, or a client's timeout, does not end a
// request that was started: RoundTrip returns ErrInProgress, the exchange goes
// on by itself and a retry with the same key collects its answer. Drain waits
// for such ones.
//
// Base must report to httptrace (net/http's transports do, so do wrappers that
// pass the request's context on); with one that does not, no failure counts as
// "nothing was sent". Fields must not change after the first use. Do not copy.
type Transport struct {
	// Guard remembers. Required.
	Guard *onceguard.Guard
	// Base sends. Nil: http.DefaultTransport.
	Base http.RoundTripper
	// Rules say which writes are guarded, and how.
	Rules []Rule
	// Scope returns the tenant that a request acts for. Nil: the guard's scope.
	Scope func(*http.Request) (string, error)
	// AllowUnguarded lets a write pass that goes to a guarded host and that no
	// rule names. Without it such a write is an error, and nothing is sent.
	AllowUnguarded bool
	// MaxBody bounds the body of a guarded request, which is read into memory
	// before anything is claimed, in bytes. Default DefaultMaxBody.
	MaxBody int64
	// MaxResponse bounds what a receipt keeps of a response's body, in bytes. A
	// larger one is streamed to the first caller and leaves a receipt without a
	// body: retries get ErrNoResult. Default DefaultMaxResponse.
	MaxResponse int
	// ReuseConnections lets a guarded request leave its HTTP/1 connection for the
	// next one. Without it the connection is closed, at the price of a handshake
	// per guarded request: a server or proxy that answers twice would otherwise
	// have its second answer taken for that of the next request, and a payment
	// that was never made would have a receipt. HTTP/2 names the request in every
	// answer; where it is spoken, connections are reused anyway.
	ReuseConnections bool
	// StoreHeaders adds response headers to those that a receipt keeps:
	// StoredHeaders. Headers that must never be stored are refused.
	StoreHeaders []string

	once    sync.Once
	invalid error
	rules   ruleTable
	allowed map[string]bool
	early   underway.Count
	framed  sync.Map     // hosts that spoke HTTP/2 last
	ready   func() error // in tests, instead of Attempt.Ready
}

// Validate reports what is wrong with t's fields; RoundTrip says the same on
// every request. Call it where the program starts.
func (t *Transport) Validate() error {
	t.once.Do(func() {
		if err := t.fill(); err != nil {
			t.invalid = &onceguard.Error{Code: onceguard.ErrInvalid, Reason: "httpguard.Transport: " + err.Error(), Err: err}
		}
	})
	return t.invalid
}

func (t *Transport) fill() (err error) {
	if t.Guard == nil {
		return errors.New("no Guard")
	}
	if t.MaxBody < 0 || t.MaxResponse < 0 {
		return errors.New("MaxBody and MaxResponse must not be negative")
	}
	if t.MaxBody == 0 {
		t.MaxBody = DefaultMaxBody
	}
	if t.MaxResponse == 0 {
		t.MaxResponse = DefaultMaxResponse
	}
	if t.allowed, err = allowList(t.StoreHeaders); err != nil {
		return err
	}
	t.rules, err = newRuleTable(t.Rules)
	if err != nil {
		return err
	}
	for _, r := range t.Rules {
		if err := t.probe(r); err != nil {
			return fmt.Errorf("rule %q: %w", r.Pattern, err)
		}
	}
	return nil
}

// probe lets the guard check a rule's action, policy and limits: with a context
// that is over, only the checks before the store are made.
func (t *Transport) probe(r Rule) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := t.Guard.Preview(ctx, onceguard.Request{
		Action: r.Action, Key: onceguard.RawKey("probe"), Policy: r.Policy, Limits: r.Limits, Codec: answers,
	})
	if errors.Is(err, onceguard.ErrInvalid) {
		return err
	}
	return nil
}

// Drain waits for exchanges whose callers have gone, or until ctx ends. Call it
// before the guard is closed.
func (t *Transport) Drain(ctx context.Context) error {
	if err := t.early.Wait(ctx); err != nil {
		return fmt.Errorf("httpguard: guarded requests are still under way; what they do may have happened: %w", err)
	}
	return nil
}

// RoundTrip sends r, or answers it from its receipt.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.Validate(); err != nil {
		closeBody(r)
		return nil, err
	}
	rule, guarded := t.rules.find(r)
	if !guarded {
		if !safeMethod(r.Method) && t.rules.guardsHost(r) && !t.AllowUnguarded {
			closeBody(r)
			return nil, refuse("", fmt.Errorf("no rule names %s %s, a write to a guarded host, and its context has no key: add a Rule, use WithKey, or set AllowUnguarded", r.Method, place(r)))
		}
		return t.base().RoundTrip(r)
	}
	body, err := readRequest(r, t.MaxBody)
	if err != nil {
		return nil, refuse(rule.Action, err)
	}
	key, err := rule.keyOf(r, body)
	if errors.Is(err, errNoKey) && rule.AllowMissing {
		return t.base().RoundTrip(withBody(r, body))
	}
	if err != nil {
		return nil, refuse(rule.Action, err)
	}
	meaning, err := rule.meaning(r, body)
	if err != nil {
		return nil, refuse(rule.Action, err)
	}
	guard := t.Guard
	if t.Scope != nil {
		scope, err := t.Scope(r)
		if err != nil || scope == "" {
			return nil, refuse(rule.Action, fmt.Errorf("no scope for %s %s: %w", r.Method, place(r), err))
		}
		guard = guard.Scoped(scope)
	}
	req := onceguard.Request{
		Action: rule.Action, Key: key, RawInput: meaning, Policy: rule.Policy, Limits: rule.Limits, Codec: answers,
		RunAfterNeverWill: rule.RunAfterNeverWill,
	}
	req.Limits.MaxResult = t.MaxResponse + headerRoom
	if rule.KeepRequest {
		req.Keep = keep(r, body)
	}
	s := &sending{Transport: t, rule: rule, r: r, body: body, finished: make(chan struct{})}
	return s.run(guard, req)
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// refuse is the error of a request of which nothing was sent.
func refuse(action string, cause error) error {
	return &onceguard.Error{Code: onceguard.ErrInvalid, Action: action, Err: cause}
}

// place is a URL without its query, which may hold secrets.
func place(r *http.Request) string { return r.URL.Host + r.URL.Path }

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

func safeMethod(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
