package storesuite

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onceguard/onceguard"
)

// Durations of the suite. What is brief is over after lapse; what is long is
// never over in a test that does not jump the clock.
const (
	brief   = time.Millisecond
	long    = time.Hour
	horizon = 24 * time.Hour
)

// Policies of the suite.
var (
	atMostOnce = onceguard.AtMostOnce
	rerun      = onceguard.Rerun
	remembers  = onceguard.SafeRetry(horizon, onceguard.RefusalsRemembered)
	forgets    = onceguard.SafeRetry(horizon, onceguard.RefusalsForgotten)
)

// env is one case's fixture: an open store and the questions that cases ask.
type env struct {
	T
	Harness
	ctx context.Context
}

func newEnv(t T, h Harness) *env {
	if h.Store == nil {
		t.Fatal("the harness has no Store")
	}
	if h.Histories == nil {
		h.Histories = plainly
	}
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(stop)
	return &env{T: t, Harness: h, ctx: ctx}
}

// on is the same fixture with another handle on the store.
func (e *env) on(s onceguard.Store) *env {
	other := *e
	other.Store = s
	return &other
}

type option func(*onceguard.Claim)

func under(p onceguard.Policy) option { return func(c *onceguard.Claim) { c.Policy = p } }
func leased(d time.Duration) option   { return func(c *onceguard.Claim) { c.Lease = d } }
func inScope(s string) option         { return func(c *onceguard.Claim) { c.Scope = s } }
func withInput(b []byte) option       { return func(c *onceguard.Claim) { c.Input = b } }
func retained(result, id time.Duration) option {
	return func(c *onceguard.Claim) { c.ResultRetention, c.IdentityRetention = result, id }
}

// request is the claim of a new request.
func (e *env) request(options ...option) onceguard.Claim {
	e.Helper()
	key := onceguard.KeyOf("order", rand.Text())
	c := onceguard.Claim{
		Scope: "default", Action: "refund.create", Key: key.Encoded(),
		Fingerprints: []onceguard.Fingerprint{print("input")},
		Owner:        newToken(), Process: "host/1", Lease: long,
		ResultRetention: 30 * 24 * time.Hour, IdentityRetention: 400 * 24 * time.Hour,
	}
	for _, o := range options {
		o(&c)
	}
	id, err := onceguard.NewRequestID(c.Scope, c.Action, key)
	if err != nil {
		e.Fatal(err)
	}
	c.ID = id
	return c
}

// again is another call for the same request: it draws a new token.
func again(c onceguard.Claim, options ...option) onceguard.Claim {
	c.Owner, c.Process = newToken(), "host/2"
	for _, o := range options {
		o(&c)
	}
	return c
}

func newToken() (t onceguard.Token) {
	_, _ = rand.Read(t[:]) // never fails, see crypto/rand
	return t
}

// print is a fingerprint that depends on the input alone.
func print(input string) onceguard.Fingerprint {
	f := onceguard.Fingerprint{Version: 1, KeyID: "k1"}
	f.Sum = onceguard.NewResult("", []byte(input)).Digest
	return f
}

// claim asks for one request and expects an outcome and a transition.
func (e *env) claim(c onceguard.Claim, o onceguard.Outcome, t onceguard.Transition) onceguard.Answer {
	e.Helper()
	list, err := e.Store.Claim(e.ctx, []onceguard.Claim{c})
	return e.want(e.only(list, err), o, t)
}

// granted claims a new request.
func (e *env) granted(options ...option) onceguard.Claim {
	e.Helper()
	c := e.request(options...)
	e.claim(c, onceguard.Granted, onceguard.T1)
	return c
}

func (e *env) settle(s onceguard.Settlement, o onceguard.Outcome, t onceguard.Transition) onceguard.Answer {
	e.Helper()
	list, err := e.Store.Settle(e.ctx, []onceguard.Settlement{s})
	return e.want(e.only(list, err), o, t)
}

func (e *env) renew(n onceguard.Renewal, o onceguard.Outcome, t onceguard.Transition) onceguard.Answer {
	e.Helper()
	list, err := e.Store.Renew(e.ctx, []onceguard.Renewal{n})
	return e.want(e.only(list, err), o, t)
}

func (e *env) resolve(n onceguard.Resolution, o onceguard.Outcome, t onceguard.Transition) onceguard.Answer {
	e.Helper()
	a, err := e.Store.Resolve(e.ctx, n)
	if err != nil {
		e.Fatalf("resolve: %v", err)
	}
	return e.want(a, o, t)
}

// says builds the owner's word on an attempt.
func says(c onceguard.Claim, attempt int64, v onceguard.Verb, body string) onceguard.Settlement {
	s := onceguard.Settlement{ID: c.ID, Attempt: attempt, Owner: c.Owner, Verb: v}
	if v == onceguard.SettleSucceeded || v == onceguard.SettleFailed {
		s.Result = onceguard.NewResult("refund/1", []byte(body))
	}
	if v != onceguard.SettleSucceeded {
		s.Reason = "because " + body
	}
	return s
}

func succeeds(c onceguard.Claim, attempt int64) onceguard.Settlement {
	return says(c, attempt, onceguard.SettleSucceeded, `{"paid":true}`)
}

func (e *env) only(list []onceguard.Answer, err error) onceguard.Answer {
	e.Helper()
	if err != nil {
		e.Fatalf("store: %v", err)
	}
	if len(list) != 1 {
		e.Fatalf("one question got %d answers", len(list))
	}
	return list[0]
}

func (e *env) want(a onceguard.Answer, o onceguard.Outcome, t onceguard.Transition) onceguard.Answer {
	e.Helper()
	if a.Err != nil {
		e.Fatalf("member failed: %v", a.Err)
	}
	if a.Outcome != o || a.Transition != t {
		e.Fatalf("answered %s by %s, want %s by %s; record is %s, attempt %d", a.Outcome, a.Transition, o, t, a.Record.State, a.Record.Attempt)
	}
	if a.Now.IsZero() {
		e.Fatal("the answer does not carry the store's time")
	}
	return a
}

// found reads a record that must exist.
func (e *env) found(id onceguard.RequestID) onceguard.Record {
	e.Helper()
	list, err := e.Store.Get(e.ctx, []onceguard.RequestID{id})
	return e.want(e.only(list, err), onceguard.Found, onceguard.NoTransition).Record
}

func (e *env) missing(id onceguard.RequestID) {
	e.Helper()
	list, err := e.Store.Get(e.ctx, []onceguard.RequestID{id})
	e.want(e.only(list, err), onceguard.Missing, onceguard.NoTransition)
}

// state reads a record that must be in a state, at an attempt.
func (e *env) state(id onceguard.RequestID, s onceguard.State, attempt int64) onceguard.Record {
	e.Helper()
	r := e.found(id)
	if r.State != s || r.Attempt != attempt {
		e.Fatalf("record is %s at attempt %d, want %s at attempt %d", r.State, r.Attempt, s, attempt)
	}
	return r
}

// same expects two readings of a record to be equal, but for times closer than
// a microsecond: databases round.
func (e *env) same(want, got onceguard.Record) {
	e.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Microsecond), cmpopts.EquateEmpty()); diff != "" {
		e.Fatalf("record differs (-want +got):\n%s", diff)
	}
}

// evidence reads what is kept about a request, and expects kinds in order.
func (e *env) evidence(id onceguard.RequestID, kinds ...onceguard.EvidenceKind) []onceguard.Evidence {
	e.Helper()
	list, err := e.Store.Evidence(e.ctx, id)
	if err != nil {
		e.Fatalf("evidence: %v", err)
	}
	var got []onceguard.EvidenceKind
	for _, x := range list {
		got = append(got, x.Kind)
		if x.ID != id || x.At.IsZero() {
			e.Fatalf("evidence %s of %s is about %s at %s", x.Kind, id, x.ID, x.At)
		}
	}
	if diff := cmp.Diff(kinds, got, cmpopts.EquateEmpty()); diff != "" {
		e.Fatalf("evidence kinds differ (-want +got):\n%s", diff)
	}
	return list
}

// now is the store's clock.
func (e *env) now() time.Time {
	e.Helper()
	list, err := e.Store.Get(e.ctx, []onceguard.RequestID{{1}})
	return e.only(list, err).Now
}

// lapse lets everything brief pass by the store's clock.
func (e *env) lapse() {
	e.Helper()
	over := e.now().Add(2 * brief)
	if e.AdvanceClock != nil {
		e.AdvanceClock(3 * brief)
	}
	for !e.now().After(over) {
		if err := e.ctx.Err(); err != nil {
			e.Fatalf("the store's clock does not move: %v", err)
		}
		time.Sleep(brief)
	}
}

// failed expects a *StoreError that says surely nothing was written.
func (e *env) failed(err error) *onceguard.StoreError {
	e.Helper()
	var se *onceguard.StoreError
	if !errors.As(err, &se) {
		e.Fatalf("error is %T (%v), want a *StoreError", err, err)
	}
	if !se.Clean {
		e.Fatalf("error does not say that nothing was written: %v", err)
	}
	return se
}

func (e *env) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// kinds reads the kinds of evidence about a request, in order.
func (e *env) kinds(id onceguard.RequestID) []onceguard.EvidenceKind {
	e.Helper()
	list, err := e.Store.Evidence(e.ctx, id)
	e.must(err)
	kinds := make([]onceguard.EvidenceKind, len(list))
	for i, x := range list {
		kinds[i] = x.Kind
	}
	return kinds
}

// both returns the store and, where there is one, a second handle on it.
func (e *env) both() [2]onceguard.Store {
	e.Helper()
	if e.Second == nil {
		return [2]onceguard.Store{e.Store, e.Store}
	}
	return [2]onceguard.Store{e.Store, e.Second()}
}
