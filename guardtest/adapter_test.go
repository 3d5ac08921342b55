package guardtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/onceguard/onceguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// verdictOf is the plainest mapping of a guard's answer.
func verdictOf(r onceguard.Receipt[string], err error) Answer {
	a := Answer{Verdict: Done, Reply: r.Value}
	if err != nil {
		a.Detail = err.Error()
	}
	switch {
	case err == nil:
	case errors.Is(err, onceguard.ErrRefused):
		a.Verdict = Refused
	case errors.Is(err, onceguard.ErrMismatch):
		a.Verdict = Mismatch
	case errors.Is(err, onceguard.ErrInProgress):
		a.Verdict = InProgress
	case onceguard.MayHaveRun(err):
		a.Verdict = Uncertain
	default:
		a.Verdict = Again
	}
	return a
}

func request(m Message) onceguard.Request {
	return onceguard.Request{Action: "message.handle", Key: onceguard.KeyOf("message", m.ID), Input: m.Payload}
}

// direct is the least adapter: a function call.
func direct(_ testing.TB, g *onceguard.Guard, h Handler) Deliver {
	return func(ctx context.Context, m Message) Answer {
		return verdictOf(onceguard.Do(ctx, g, request(m), func(ctx context.Context, _ *onceguard.Attempt) (string, error) { return h(ctx, m) }))
	}
}

func TestDirectAdapter(t *testing.T) {
	Run(t, Adapter{Open: direct})
}

// TestQueueAdapter is the recipe for queues in the package's documentation: one
// consumer, and a delivery that learns nothing but its fate.
func TestQueueAdapter(t *testing.T) {
	type delivery struct {
		ctx  context.Context
		m    Message
		fate chan Answer
	}
	Run(t, Adapter{NoReply: true, Open: func(t testing.TB, g *onceguard.Guard, h Handler) Deliver {
		queue, stop := make(chan delivery), make(chan struct{})
		var workers sync.WaitGroup
		for range 20 {
			workers.Go(func() {
				for {
					select {
					case d := <-queue:
						func() {
							defer func() {
								if p := recover(); p != nil {
									d.fate <- Answer{Verdict: Uncertain, Detail: fmt.Sprint(p)}
								}
							}()
							a := direct(t, g, h)(d.ctx, d.m)
							a.Reply = ""
							d.fate <- a
						}()
					case <-stop:
						return
					}
				}
			})
		}
		t.Cleanup(func() { close(stop); workers.Wait() })
		return func(ctx context.Context, m Message) Answer {
			d := delivery{ctx, m, make(chan Answer, 1)}
			queue <- d
			return <-d.fate
		}
	}})
}

// trial runs one case without failing the test that runs it.
type trial struct {
	testing.TB
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (r *trial) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *trial) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *trial) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *trial) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *trial) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.errors) > 0
}

func (r *trial) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// failing runs all cases and returns the names of those that fail.
func failing(t *testing.T, a Adapter) (failed []string) {
	t.Helper()
	for _, c := range cases() {
		r := &trial{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() {
				for _, f := range slices.Backward(r.cleanups) {
					f()
				}
			}()
			defer func() {
				if p := recover(); p != nil {
					r.Errorf("panic: %v", p)
				}
			}()
			c.run(newFixture(r, a))
		}()
		<-done
		if r.Failed() {
			failed = append(failed, c.name)
		}
	}
	return failed
}

// broken adapters make the mistakes of TRAPS that adapters make. Each must fail
// the cases named, and perhaps others.
func TestTheSuiteFailsBrokenAdapters(t *testing.T) {
	with := func(change func(r *onceguard.Request, m Message)) func(testing.TB, *onceguard.Guard, Handler) Deliver {
		return func(_ testing.TB, g *onceguard.Guard, h Handler) Deliver {
			return func(ctx context.Context, m Message) Answer {
				r := request(m)
				change(&r, m)
				return verdictOf(onceguard.Do(ctx, g, r, func(ctx context.Context, _ *onceguard.Attempt) (string, error) { return h(ctx, m) }))
			}
		}
	}
	mapped := func(from, to Verdict) func(testing.TB, *onceguard.Guard, Handler) Deliver {
		return func(t testing.TB, g *onceguard.Guard, h Handler) Deliver {
			d := direct(t, g, h)
			return func(ctx context.Context, m Message) Answer {
				a := d(ctx, m)
				if a.Verdict == from {
					a.Verdict = to
				}
				return a
			}
		}
	}
	ending := func(change func(error) error) func(testing.TB, *onceguard.Guard, Handler) Deliver {
		return func(t testing.TB, g *onceguard.Guard, h Handler) Deliver {
			return direct(t, g, func(ctx context.Context, m Message) (string, error) {
				s, err := h(ctx, m)
				return s, change(err)
			})
		}
	}
	for name, tc := range map[string]struct {
		open  func(testing.TB, *onceguard.Guard, Handler) Deliver
		fails []string
	}{
		"no guard": {func(_ testing.TB, _ *onceguard.Guard, h Handler) Deliver {
			return func(ctx context.Context, m Message) Answer {
				s, err := h(ctx, m)
				return verdictOf(onceguard.Receipt[string]{Value: s}, err)
			}
		}, []string{"twice, one after the other", "many at once", "changed payload", "unknown outcome", "refused for good"}},
		"payload in the key":     {with(func(r *onceguard.Request, m Message) { r.Key = onceguard.KeyOf("id", m.ID, "payload", m.Payload) }), []string{"changed payload", "changed payload while in flight", "unknown outcome, changed payload"}},
		"payload not compared":   {with(func(r *onceguard.Request, _ Message) { r.Input = nil }), []string{"changed payload", "changed payload while in flight"}},
		"one key for all":        {with(func(r *onceguard.Request, _ Message) { r.Key, r.Input = onceguard.KeyOf("id", "x"), nil }), []string{"other messages are others"}},
		"rerun by default":       {with(func(r *onceguard.Request, _ Message) { r.Policy = onceguard.Rerun }), []string{"unknown outcome", "crash while in flight", "panic"}},
		"any error releases":     {ending(onceguard.NotExecuted), []string{"unknown outcome", "refused for good"}},
		"any error is final":     {ending(onceguard.Refused), []string{"unknown outcome", "not executed runs again"}},
		"errors are results":     {ending(func(error) error { return nil }), []string{"unknown outcome", "not executed runs again", "refused for good"}},
		"in flight is acked":     {mapped(InProgress, Done), []string{"again while in flight", "again while in flight in another process"}},
		"uncertain is acked":     {mapped(Uncertain, Done), []string{"unknown outcome", "crash while in flight"}},
		"uncertain is try again": {mapped(Uncertain, Again), []string{"unknown outcome", "panic", "store down after the effect"}},
		"mismatch is replayed":   {mapped(Mismatch, Done), []string{"changed payload", "changed payload while in flight"}},
		"refusal is done":        {mapped(Refused, Done), []string{"refused for good"}},
		"store down is done":     {mapped(Again, Done), []string{"store down before the start", "not executed runs again"}},
		"the reply is not stored": {func(t testing.TB, g *onceguard.Guard, h Handler) Deliver {
			return func(ctx context.Context, m Message) Answer {
				var s string
				r, err := onceguard.Do(ctx, g, request(m), func(ctx context.Context, _ *onceguard.Attempt) (string, error) {
					var err error
					s, err = h(ctx, m)
					return "", err
				})
				r.Value = s
				return verdictOf(r, err)
			}
		}, []string{"twice, one after the other"}},
		"the memory is its own": {func(t testing.TB, _ *onceguard.Guard, h Handler) Deliver {
			return direct(t, New(t, onceguard.Options{Limits: onceguard.Limits{Wait: brief}}), h)
		}, []string{"crash after the effect", "crash while in flight", "again while in flight in another process"}},
		"a panic is a refusal": {func(t testing.TB, g *onceguard.Guard, h Handler) Deliver {
			return direct(t, g, func(ctx context.Context, m Message) (s string, err error) {
				defer func() {
					if p := recover(); p != nil {
						err = onceguard.Refused(fmt.Errorf("panic: %v", p))
					}
				}()
				return h(ctx, m)
			})
		}, []string{"panic"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := failing(t, Adapter{Open: tc.open})
			for _, want := range tc.fails {
				if !slices.Contains(got, want) {
					t.Errorf("passed %q; failed only: %s", want, strings.Join(got, "; "))
				}
			}
		})
	}
	if got := failing(t, Adapter{Open: direct}); len(got) != 0 {
		t.Errorf("the right adapter failed %q", got)
	}
	var none []string
	if diff := cmp.Diff(none, failing(t, Adapter{Open: direct, NoReply: true})); diff != "" {
		t.Error(diff)
	}
}
