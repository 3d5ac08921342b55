package guardtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// Message is what a client or a producer sends.
type Message struct {
	ID      string // identity: the same on every delivery
	Payload string // what it means
}

// Handler is the effect behind the adapter. Its error means what an effect's
// error means: NotExecuted, Refused, or unknown; it may also panic. The reply
// is the result that replays must repeat.
type Handler func(ctx context.Context, m Message) (reply string, err error)

// Verdict is what the sender of a message learns, in the adapter's protocol.
type Verdict string

// The verdicts.
const (
	Done       Verdict = "done"        // it happened, now or before
	Refused    Verdict = "refused"     // it was refused for good
	Again      Verdict = "again"       // this delivery surely did nothing; send it again
	InProgress Verdict = "in-progress" // another delivery is being handled; send it again
	Uncertain  Verdict = "uncertain"   // nobody knows; never send it under a new identity
	Mismatch   Verdict = "mismatch"    // the identity belongs to another payload
)

// Answer is what one delivery came to.
type Answer struct {
	Verdict Verdict
	Reply   string // of Done
	Detail  string // for the test's log: a status, an error text
}

// Deliver sends a message once and returns what its sender learns. A delivery
// that cannot be made at all (no connection) is a failure of the test.
type Deliver func(ctx context.Context, m Message) Answer

// Adapter describes an adapter to the suite.
type Adapter struct {
	// Open puts the adapter between a guard and a handler. What it starts ends
	// with t. It is called for every case, and again after a crash.
	Open func(t testing.TB, g *onceguard.Guard, h Handler) Deliver

	// NoReply: the protocol carries no reply, or replays carry none.
	NoReply bool
	// Detached: the adapter answers before the effect ends when its own wait is
	// over, so that a first delivery may be InProgress.
	Detached bool
}

// Run holds an adapter to the guard's promise: every message arrives twice or
// more, and its effect takes place once. The names of its subtests are stable.
func Run(t *testing.T, a Adapter) {
	t.Helper()
	if a.Open == nil {
		t.Fatal("guardtest: the adapter has no Open function")
	}
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) { c.run(newFixture(t, a)) })
	}
}

type testCase struct {
	name string
	run  func(f *fixture)
}

func cases() []testCase {
	return append(append(append([]testCase(nil), repeatCases...), outcomeCases...), crashCases...)
}

// fixture is one case: a guard, the adapter on it, and what takes place.
type fixture struct {
	testing.TB
	adapter Adapter
	ctx     context.Context
	guard   *onceguard.Guard
	store   *Store
	deliver Deliver
	started Ledger // handler calls, by message ID
	applied Ledger // effects, by message ID

	mu      sync.Mutex
	present Handler // cases change it between deliveries
}

// brief bounds how long a duplicate waits for a running delivery.
const brief = 50 * time.Millisecond

func newFixture(t testing.TB, a Adapter) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	f := &fixture{TB: t, adapter: a, ctx: ctx}
	f.guard = New(t, onceguard.Options{Limits: onceguard.Limits{Wait: brief}})
	f.store = StoreOf(t, f.guard)
	f.handle(f.act)
	f.deliver = a.Open(t, f.guard, f.called)
	return f
}

// restart opens the adapter anew on the same store, as after a crash.
func (f *fixture) restart() {
	f.Helper()
	f.deliver = f.adapter.Open(f.TB, Restart(f.TB, f.guard), f.called)
}

func (f *fixture) called(ctx context.Context, m Message) (string, error) {
	f.started.Add(m.ID)
	f.mu.Lock()
	h := f.present
	f.mu.Unlock()
	return h(ctx, m)
}

// handle makes h the handler of what is delivered from now on.
func (f *fixture) handle(h Handler) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.present = h
}

// act is the effect that succeeds. Its reply differs on every run, so that a
// second run shows.
func (f *fixture) act(_ context.Context, m Message) (string, error) {
	f.applied.Add(m.ID)
	return reply(m, f.started.Count(m.ID)), nil
}

// ending is a handler that only says how it ended.
func ending(err error) Handler {
	return func(context.Context, Message) (string, error) { return "", err }
}

func reply(m Message, run int) string {
	return "did " + m.Payload + ", run " + string(rune('0'+run))
}

var first = Message{ID: "m-1", Payload: "refund 500"}

// send delivers once and expects one of some verdicts.
func (f *fixture) send(m Message, want ...Verdict) Answer {
	f.Helper()
	a := f.deliver(f.ctx, m)
	f.expect(a, want...)
	return a
}

func (f *fixture) expect(a Answer, want ...Verdict) {
	f.Helper()
	for _, v := range want {
		if a.Verdict == v {
			return
		}
	}
	f.Errorf("the sender learned %q (%s), want %q", a.Verdict, a.Detail, want)
}

// sendDone expects the reply of the first run, now or replayed.
func (f *fixture) sendDone(m Message) {
	f.Helper()
	f.done(m, f.send(m, Done))
}

func (f *fixture) done(m Message, a Answer) {
	f.Helper()
	if want := reply(m, f.started.Count(m.ID)); !f.adapter.NoReply && a.Verdict == Done && a.Reply != want {
		f.Errorf("the reply is %q, want %q as at the first run", a.Reply, want)
	}
}

// took expects how often a message was handled and how often it took effect.
func (f *fixture) took(m Message, started, applied int) {
	f.Helper()
	if s, a := f.started.Count(m.ID), f.applied.Count(m.ID); s != started || a != applied {
		f.Errorf("message %s was handled %d times and took effect %d times, want %d and %d", m.ID, s, a, started, applied)
	}
}
