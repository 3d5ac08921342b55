package onceguard_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// refund is the result of most effects here.
type refund struct {
	ID    string `json:"id"`
	Cents int    `json:"cents"`
}

// fate is what happens to one store call.
type fate int

const (
	reach      fate = iota
	down            // the store refuses cleanly: nothing was written
	lostBefore      // the answer is unclear, and nothing was written
	lostAfter       // the answer is unclear, and it was written
	hang            // no answer until the call's context ends; nothing was written
	broken          // a clean failure that trying again does not mend
)

// faults is a store whose calls meet the fate that decide chooses. It counts
// calls by name.
type faults struct {
	*memstore.Store

	mu     sync.Mutex
	calls  map[string]int
	decide func(op string, n int) fate // n counts from 1
}

var errLine = errors.New("the line broke")

func (f *faults) meet(ctx context.Context, op string, call func() error) error {
	f.mu.Lock()
	f.calls[op]++
	what := reach
	if f.decide != nil {
		what = f.decide(op, f.calls[op])
	}
	f.mu.Unlock()
	switch what {
	case down:
		return &onceguard.StoreError{Op: op, Clean: true, Err: errLine}
	case broken:
		return &onceguard.StoreError{Op: op, Clean: true, Permanent: true, Err: errLine}
	case lostBefore:
		return &onceguard.StoreError{Op: op, Err: errLine}
	case hang:
		<-ctx.Done()
		return &onceguard.StoreError{Op: op, Err: ctx.Err()}
	}
	if err := call(); err != nil || what == reach {
		return err
	}
	return &onceguard.StoreError{Op: op, Err: errLine}
}

func many[Q any](f *faults, ctx context.Context, op string, q []Q, call func(context.Context, []Q) ([]onceguard.Answer, error)) (a []onceguard.Answer, err error) {
	err = f.meet(ctx, op, func() (err error) {
		a, err = call(ctx, q)
		return err
	})
	if err != nil {
		a = nil
	}
	return a, err
}

func (f *faults) Claim(ctx context.Context, q []onceguard.Claim) ([]onceguard.Answer, error) {
	return many(f, ctx, "claim", q, f.Store.Claim)
}

func (f *faults) Settle(ctx context.Context, q []onceguard.Settlement) ([]onceguard.Answer, error) {
	return many(f, ctx, "settle", q, f.Store.Settle)
}

func (f *faults) Renew(ctx context.Context, q []onceguard.Renewal) ([]onceguard.Answer, error) {
	return many(f, ctx, "renew", q, f.Store.Renew)
}

func (f *faults) Get(ctx context.Context, q []onceguard.RequestID) ([]onceguard.Answer, error) {
	return many(f, ctx, "get", q, f.Store.Get)
}

func (f *faults) List(ctx context.Context, q onceguard.Filter) (p onceguard.Page, err error) {
	err = f.meet(ctx, "list", func() (err error) {
		p, err = f.Store.List(ctx, q)
		return err
	})
	return p, err
}

func (f *faults) Resolve(ctx context.Context, r onceguard.Resolution) (a onceguard.Answer, err error) {
	err = f.meet(ctx, "resolve", func() (err error) {
		a, err = f.Store.Resolve(ctx, r)
		return err
	})
	return a, err
}

// set replaces the fates of calls from here on.
func (f *faults) set(decide func(op string, n int) fate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// only meets one kind of call with one fate.
func only(op string, what fate) func(string, int) fate {
	return func(o string, _ int) fate {
		if o == op {
			return what
		}
		return reach
	}
}

func (f *faults) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// recorder keeps events.
type recorder struct {
	mu     sync.Mutex
	events []onceguard.Event
}

func (r *recorder) Observe(_ context.Context, e onceguard.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []onceguard.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *recorder) count(k onceguard.EventKind) (n int) {
	for _, e := range r.all() {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// jumpy is a clock that follows synctest's time and that a test can put on.
type jumpy struct {
	start  time.Time
	offset atomic.Int64
	fails  atomic.Bool
}

func (j *jumpy) Now() (time.Duration, error) {
	if j.fails.Load() {
		return 0, errors.New("the clock is gone")
	}
	return time.Since(j.start) + time.Duration(j.offset.Load()), nil
}

// world is one fixture: a store with faults and a guard on it.
type world struct {
	*testing.T
	ctx    context.Context
	store  *faults
	clock  *jumpy
	events *recorder
	guard  *onceguard.Guard
	runs   atomic.Int64 // effects started through act
	jumped atomic.Int64 // how far the store's clock was put on
}

// virtual runs a test on a fresh world in fake time. It ends by closing the
// guard, so that synctest finds every goroutine that stays behind.
func virtual(t *testing.T, test func(w *world), adapt ...func(*onceguard.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, adapt...)
		defer func() { w.close(w.guard) }()
		test(w)
	})
}

func newWorld(t *testing.T, adapt ...func(*onceguard.Options)) *world {
	t.Helper()
	w := &world{T: t, ctx: context.Background(), clock: &jumpy{start: time.Now()}, events: &recorder{}}
	now := func() time.Time { return time.Now().Add(time.Duration(w.jumped.Load())) }
	w.store = &faults{Store: memstore.New(memstore.Options{Now: now}), calls: map[string]int{}}
	w.guard = w.another(adapt...)
	return w
}

// another is a guard of another process on the same store.
func (w *world) another(adapt ...func(*onceguard.Options)) *onceguard.Guard {
	w.Helper()
	g, err := onceguard.New(w.ctx, w.store, w.options(adapt...))
	if err != nil {
		w.Fatal(err)
	}
	return g
}

func (w *world) options(adapt ...func(*onceguard.Options)) onceguard.Options {
	o := onceguard.Options{Observer: w.events}.OnClock(bootclock.Clock{Ticks: w.clock})
	for _, a := range adapt {
		a(&o)
	}
	return o
}

func (w *world) close(g *onceguard.Guard) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Minute)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		w.Error(err)
	}
}

// request is the usual request for an order.
func request(order string) onceguard.Request {
	return onceguard.Request{Action: "refund.create", Key: onceguard.KeyOf("order", order), Input: map[string]any{"cents": 500}}
}

func under(p onceguard.Policy, order string) onceguard.Request {
	r := request(order)
	r.Policy = p
	return r
}

type effect = func(ctx context.Context, a *onceguard.Attempt) (refund, error)

// act is an effect that counts itself and ends as told.
func (w *world) act(v refund, err error) effect {
	return func(context.Context, *onceguard.Attempt) (refund, error) {
		w.runs.Add(1)
		return v, err
	}
}

func (w *world) ok() effect { return w.act(refund{"re_1", 500}, nil) }

func (w *world) never() effect {
	return func(context.Context, *onceguard.Attempt) (refund, error) {
		w.Error("the effect ran")
		return refund{}, errors.New("ran")
	}
}

func (w *world) do(r onceguard.Request, fn effect) (onceguard.Receipt[refund], error) {
	return onceguard.Do(w.ctx, w.guard, r, fn)
}

// mustDo expects a receipt with the usual value.
func (w *world) mustDo(r onceguard.Request, fn effect) onceguard.Receipt[refund] {
	w.Helper()
	rec, err := w.do(r, fn)
	if err != nil {
		w.Fatal(err)
	}
	return rec
}

// want expects an error of a code and returns it.
func (w *world) want(err error, code onceguard.Code) *onceguard.Error {
	w.Helper()
	var e *onceguard.Error
	if !errors.As(err, &e) || e.Code != code || !errors.Is(err, code) {
		w.Fatalf("error is %v, want %s", err, code)
	}
	return e
}

func (w *world) wantRuns(n int64) {
	w.Helper()
	if got := w.runs.Load(); got != n {
		w.Fatalf("%d effects ran, want %d", got, n)
	}
}

func (w *world) id(r onceguard.Request) onceguard.RequestID {
	w.Helper()
	id, err := onceguard.NewRequestID("default", r.Action, r.Key)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// record reads the row past all faults.
func (w *world) record(r onceguard.Request) onceguard.Record {
	w.Helper()
	a, err := w.store.Store.Get(w.ctx, []onceguard.RequestID{w.id(r)})
	if err != nil {
		w.Fatal(err)
	}
	return a[0].Record
}

func (w *world) wantState(r onceguard.Request, s onceguard.State, attempt int64) onceguard.Record {
	w.Helper()
	rec := w.record(r)
	if rec.State != s || rec.Attempt != attempt {
		w.Fatalf("the record is %s at attempt %d (%q), want %s at %d", rec.State, rec.Attempt, rec.Reason, s, attempt)
	}
	return rec
}

func (w *world) evidence(r onceguard.Request, k onceguard.EvidenceKind) (found []onceguard.Evidence) {
	w.Helper()
	list, err := w.store.Evidence(w.ctx, w.id(r))
	if err != nil {
		w.Fatal(err)
	}
	for _, e := range list {
		if e.Kind == k {
			found = append(found, e)
		}
	}
	return found
}

// uncertain leaves a request uncertain.
func (w *world) uncertain(r onceguard.Request) onceguard.Record {
	w.Helper()
	_, err := w.do(r, w.act(refund{}, errors.New("504 from the provider")))
	w.want(err, onceguard.ErrUncertain)
	return w.wantState(r, onceguard.Uncertain, 1)
}

// running starts an effect in another goroutine and returns when it runs. The
// function it returns lets the effect end, and gives what Do returned.
type answered struct {
	rec onceguard.Receipt[refund]
	err error
}

func (w *world) running(g *onceguard.Guard, r onceguard.Request, v refund, verdict error) (end func() answered) {
	w.Helper()
	started, release, done := make(chan struct{}), make(chan struct{}), make(chan answered, 1)
	var once sync.Once
	go func() {
		rec, err := onceguard.Do(w.ctx, g, r, func(context.Context, *onceguard.Attempt) (refund, error) {
			w.runs.Add(1)
			once.Do(func() { close(started) })
			<-release
			return v, verdict
		})
		done <- answered{rec, err}
	}()
	<-started
	return func() answered {
		close(release)
		return <-done
	}
}
