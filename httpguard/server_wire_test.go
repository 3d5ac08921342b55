package httpguard_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/memstore"
)

// Each test here is one row of the table in docs/http.md, as bytes on a wire.

func TestWireFirstRunAndReplay(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "first-and-replay")
	first := c.ask("The first request runs the handler.", "POST /orders/7/refunds", `{"amount": 5}`, `Idempotency-Key: "refund-7"`)
	again := c.ask("A retry, the key raw this time: same status, same bytes, nothing runs. The cookie was for the first exchange alone.",
		"POST /orders/7/refunds", `{"amount": 5}`, `Idempotency-Key: refund-7`)
	if first.status != 201 || again.status != 201 || first.body != again.body {
		t.Errorf("first %d %q, replay %d %q", first.status, first.body, again.status, again.body)
	}
	c.ask("Another tenant's key of the same text is another key.", "POST /orders/7/refunds", `{"amount": 5}`, "Tenant: globex", `Idempotency-Key: refund-7`)
	w.effects("7", 2)
}

func TestWireKey(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "key")
	const line, body = "POST /orders/7/refunds", `{"amount": 5}`
	c.ask("The key is required.", line, body)
	c.ask("A repeated header names two keys.", line, body, "Idempotency-Key: a", "Idempotency-Key: a")
	c.ask("Some proxies join repeated headers.", line, body, "Idempotency-Key: a, a")
	c.ask("A string must be closed.", line, body, `Idempotency-Key: "a`)
	c.ask("An empty key is a key for everything.", line, body, `Idempotency-Key: ""`)
	w.effects("7", 0)
}

func TestWireOtherPayload(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	c := converse(t, w.serve(w.options(), w.refund()), "other-payload")
	const line = "POST /orders/7/refunds"
	first := c.send("The first request, answered at last.", line, `{"amount": 5}`, "Idempotency-Key: refund-7")
	w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
	c.ask("Another body while the first is in flight is told at once.", line, `{"amount": 500}`, "Idempotency-Key: refund-7")
	w.must(w.ledger.Release(t.Context(), "order-7"))
	first.answer()
	c.ask("And afterwards. Nothing is said about the first.", line, `{"amount": 500}`, "Idempotency-Key: refund-7")
	c.ask("Another order is another request, too.", "POST /orders/8/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7")
	c.ask("And another method.", "PUT /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7")
	w.effects("7", 1)
	w.effects("8", 0)
}

func TestWireInFlight(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	o := w.options()
	o.Limits.Wait = 50 * time.Millisecond
	c := converse(t, w.serve(o, w.refund()), "in-flight")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	first := c.send("The first request, answered at last.", line, body, key)
	w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
	c.ask("A duplicate waits as long as the route says. Retry-After is what remains of the lease.", line, body, key)
	c.ask("It may ask for less.", line, body, key, "Prefer: respond-async, wait=0")
	c.ask("The status endpoint looks without waiting.", "GET /refunds/status", "", key)
	w.must(w.ledger.Release(t.Context(), "order-7"))
	first.answer()
	c.ask("Then the answer is there.", line, body, key)
	w.effects("7", 1)
}

func TestWireOutcomeUnknown(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{SwallowAnswer: true}))
	c := converse(t, w.serve(w.options(), w.refund()), "outcome-unknown")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("The handler lost the provider's answer and says 503. A client that took it for \"nothing happened\" would pay twice.", line, body, key)
	c.ask("A retry runs nothing.", line, body, key)
	c.ask("Another body is still told apart.", line, `{"amount": 6}`, key)
	w.effects("7", 1)
	w.settle(t, "acme", "refund-7", onceguard.ResolveRefused)
	c.note("An operator finds out and settles it.")
	c.ask("What an operator settles is told from then on.", line, body, key)
	w.effects("7", 1)
}

// settle decides about an uncertain record as an operator does.
func (w *world) settle(t *testing.T, scope, key string, v onceguard.ResolveVerdict) {
	t.Helper()
	id, err := onceguard.NewRequestID(scope, "refund.create", onceguard.RawKey(key))
	w.must(err)
	got, err := w.store.Get(t.Context(), []onceguard.RequestID{id})
	w.must(err)
	a, err := w.store.Resolve(t.Context(), onceguard.Resolution{
		ID: id, Attempt: got[0].Record.Attempt, Verdict: v, Who: onceguard.ByOperator, By: "alice", Reason: "asked the provider",
		Result: onceguard.Result{Missing: onceguard.BodyNotKept},
	})
	if err != nil || a.Outcome != onceguard.Applied {
		t.Fatalf("resolve: %v %v", a.Outcome, err)
	}
}

func TestWireMaxRun(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	o := w.options()
	o.Limits.MaxRun = 50 * time.Millisecond
	c := converse(t, w.serve(o, w.refund()), "max-run")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("The handler runs longer than it may: its context ends, and nobody knows.", line, body, key)
	c.ask("A retry runs nothing.", line, body, key)
	w.effects("7", 1)
}

func TestWireRefused(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{Refuse: "card expired"}))
	c := converse(t, w.serve(w.options(), w.refund()), "refused")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("A refusal of the handler (4xx) is an outcome.", line, body, key)
	w.must(w.ledger.Modes(t.Context(), "order-7"))
	c.ask("It is replayed, also when the same request would be accepted by now.", line, body, key)
	w.effects("7", 0)
}

func TestWireValidation(t *testing.T) {
	w := newWorld(t)
	refund := w.refund()
	c := converse(t, w.serve(w.options(), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 10 {
			httpguard.Release(r.Context(), "the amount is missing")
			http.Error(rw, "the amount is missing", http.StatusUnprocessableEntity)
			return
		}
		refund.ServeHTTP(rw, r)
	})), "validation")
	const line, key = "POST /orders/7/refunds", "Idempotency-Key: refund-7"
	c.ask("Validation rejects the request and releases its key.", line, `{}`, key)
	c.ask("The corrected request may use it.", line, `{"amount": 5}`, key)
	c.ask("From then on the key belongs to it.", line, `{}`, key)
	w.effects("7", 1)
}

func TestWireExpired(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Limits.IdentityRetention, o.Limits.ResultRetention = 40*24*time.Hour, 30*24*time.Hour
	c := converse(t, w.serve(o, w.refund()), "expired")
	c.ask("A UUIDv7 carries its time. This one is older than what the store remembers: its receipt may be gone.",
		"POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: 01890a5d-ac96-774b-bcce-b302099a8057")
	w.effects("7", 0)
}

func TestWireNotKept(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "not-kept")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("The first request.", line, body, key)
	w.later.Store(int64(31 * 24 * time.Hour))
	for p, next := (onceguard.Pruned{}), ""; !p.Done; next = p.Next {
		var err error
		p, err = w.store.Prune(t.Context(), onceguard.PruneRequest{Limit: 100, Cursor: next})
		w.must(err)
	}
	c.note("Thirty-one days pass, and results are pruned after thirty.")
	c.ask("The outcome is still known, its response is not. Nothing runs.", line, body, key)
	w.effects("7", 1)
}

func TestWireRebuild(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Rebuild = func(rw http.ResponseWriter, _ *http.Request, c httpguard.Completed) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(c.Status)
		_, _ = rw.Write([]byte(`{"rebuilt": "` + c.Why + `", "etag": "` + c.Header.Get("ETag") + `"}`))
	}
	c := converse(t, w.serve(o, w.stream(1)), "rebuild")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("The first response is streamed and not kept.", line, body, key)
	c.ask("The rebuild hook makes one from the resource.", line, body, key)
	w.effects("7", 1)
}

// stream makes an effect and answers with n flushed lines.
func (w *world) stream(n int) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, err := w.ledger.Apply(r.Context(), ledger.Request{Op: "order-" + r.PathValue("id")}); err != nil {
			http.Error(rw, "no answer", http.StatusServiceUnavailable)
			return
		}
		rw.Header().Set("Content-Type", "text/plain")
		rw.Header().Set("ETag", `"v1"`)
		for range n {
			_, _ = rw.Write([]byte("line\n"))
			rw.(http.Flusher).Flush()
		}
	})
}

func TestWireStream(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.stream(2)), "stream")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("A handler that flushes is passed through as it writes.", line, body, key)
	c.ask("Its receipt has no body. The key is never released for that.", line, body, key)
	w.effects("7", 1)
}

func TestWireOversize(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.MaxResponse = 16
	refund := w.refund()
	c := converse(t, w.serve(o, refund), "oversize")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("A response over the limit is passed through whole.", line, body, key)
	c.ask("Its receipt has no body.", line, body, key)
	w.effects("7", 1)
}

func TestWireBodyTooLarge(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.MaxBody = 16
	addr := w.serve(o, w.refund())
	c := converse(t, addr, "body-too-large")
	c.ask("A body over the limit is refused before anything is claimed.", "POST /orders/7/refunds", `{"amount":             5}`, "Idempotency-Key: refund-7")
	c.ask("The key is still free.", "GET /refunds/status", "", "Idempotency-Key: refund-7")
	if n := w.store.claims.Load(); n != 0 {
		t.Errorf("%d claims", n)
	}
	w.effects("7", 0)
}

func TestWireStoreDownBefore(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "store-down-before")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	w.store.fail(func(string) error { return errDown })
	c.ask("The store does not answer: nothing starts.", line, body, key)
	c.ask("Nor does the status endpoint guess.", "GET /refunds/status", "", key)
	w.effects("7", 0)
	w.store.fail(nil)
	c.ask("The same request, when it is back.", line, body, key)
	w.effects("7", 1)
}

func TestWireStoreDownAfter(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "store-down-after")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	w.store.fail(func(op string) error {
		if op == "settle" {
			return errDown
		}
		return nil
	})
	c.ask("The effect happened and its receipt cannot be stored: the client gets the answer and is told.", line, body, key)
	c.ask("Meanwhile the claim is kept: nothing runs again.", line, body, key, "Prefer: wait=0")
	w.store.fail(nil)
	w.await(t, "acme", "refund-7", onceguard.Succeeded)
	c.note("The store is back, and the guard delivers the receipt.")
	c.ask("From then on it is replayed.", line, body, key)
	w.effects("7", 1)
}

// await returns when the record is in a state; the guard goes on settling by itself.
func (w *world) await(t *testing.T, scope, key string, want onceguard.State) {
	t.Helper()
	id, err := onceguard.NewRequestID(scope, "refund.create", onceguard.RawKey(key))
	w.must(err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		got, err := w.store.Get(ctx, []onceguard.RequestID{id})
		w.must(err)
		if got[0].Record.State == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the record is %s, want %s", got[0].Record.State, want)
		}
	}
}

func TestWireFrozen(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "frozen")
	const line, body = "POST /orders/7/refunds", `{"amount": 5}`
	c.ask("Before the failover.", line, body, "Idempotency-Key: refund-7")
	w.store.Store.(*memstore.Store).SetEpoch("another timeline")
	c.note("The database fails over, and may have lost claims.")
	c.ask("What is remembered is replayed.", line, body, "Idempotency-Key: refund-7")
	c.ask("Nothing new starts until an operator has looked.", line, body, "Idempotency-Key: refund-8")
	w.effects("7", 1)
}

func TestWireScopeDenied(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Scope = func(r *http.Request) (string, error) { return r.Header.Get("Tenant"), nil }
	c := converse(t, w.serve(o, w.refund()), "scope-denied")
	c.ask("A caller without a tenant has no memory of its own.", "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7")
	c.ask("Nor may it look.", "GET /refunds/status", "", "Idempotency-Key: refund-7")
	w.effects("7", 0)
}

func TestWireAllowMissing(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.AllowMissing = true
	c := converse(t, w.serve(o, w.refund()), "allow-missing")
	c.ask("Where the route allows it, a request without a key runs unguarded.", "POST /orders/7/refunds", `{"amount": 5}`)
	c.ask("And again.", "POST /orders/7/refunds", `{"amount": 5}`)
	c.ask("A malformed key is not a missing one.", "POST /orders/7/refunds", `{"amount": 5}`, `Idempotency-Key: "a" b`)
	w.effects("7", 2)
}

func TestWireStatus(t *testing.T) {
	w := newWorld(t)
	c := converse(t, w.serve(w.options(), w.refund()), "status")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	c.ask("Before the first request.", "GET /refunds/status", "", key)
	c.ask("The first request.", line, body, key)
	c.ask("Afterwards: what is known, without the response.", "GET /refunds/status", "", key)
	c.ask("Another tenant sees nothing of it.", "GET /refunds/status", "", key, "Tenant: globex")
	c.ask("A key is needed.", "GET /refunds/status", "")
	if strings.Contains(c.text.String(), "secret-canary") && strings.Count(c.text.String(), "secret-canary") != 1 {
		t.Error("the cookie was sent twice")
	}
}

func TestWireEarlyReturn(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	o := w.options()
	o.EarlyReturn = true
	c := converse(t, w.serve(o, w.refund()), "early-return")
	const line, body, key = "POST /orders/7/refunds", `{"amount": 5}`, "Idempotency-Key: refund-7"
	first := c.send("The first caller does not want to wait. Its handler goes on.", line, body, key, "Prefer: wait=0")
	w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
	first.answer()
	w.must(w.ledger.Release(t.Context(), "order-7"))
	w.await(t, "acme", "refund-7", onceguard.Succeeded)
	c.ask("A retry collects the answer.", line, body, key)
	w.effects("7", 1)
}
