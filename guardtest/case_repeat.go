package guardtest

import (
	"context"
	"sync"
)

// repeatCases deliver the same message again, and others.
var repeatCases = []testCase{
	{"twice, one after the other", func(f *fixture) {
		f.sendDone(first)
		f.sendDone(first)
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"other messages are others", func(f *fixture) {
		second := Message{ID: "m-2", Payload: first.Payload}
		f.sendDone(first)
		f.sendDone(second)
		f.sendDone(first)
		f.took(first, 1, 1)
		f.took(second, 1, 1)
	}},
	{"many at once", func(f *fixture) {
		const n = 20
		answers := make([]Answer, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { answers[i] = f.deliver(f.ctx, first) })
		}
		wg.Wait()
		done := 0
		for _, a := range answers {
			f.expect(a, Done, InProgress)
			f.done(first, a)
			if a.Verdict == Done {
				done++
			}
		}
		if done == 0 && !f.adapter.Detached {
			f.Errorf("none of %d deliveries was told that it is done", n)
		}
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"again while in flight", func(f *fixture) {
		end := f.inFlight(first)
		f.send(first, InProgress)
		f.took(first, 1, 0)
		f.done(first, end())
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"again while in flight in another process", func(f *fixture) {
		end := f.inFlight(first)
		f.restart()
		f.send(first, InProgress)
		end()
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"changed payload", func(f *fixture) {
		f.sendDone(first)
		f.send(Message{ID: first.ID, Payload: "refund 900"}, Mismatch)
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"changed payload while in flight", func(f *fixture) {
		end := f.inFlight(first)
		f.send(Message{ID: first.ID, Payload: "refund 900"}, Mismatch)
		end()
		f.took(first, 1, 1)
	}},
	{"the sender goes away while in flight", func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		defer cancel()
		end := f.inFlightFor(ctx, first)
		cancel()
		end()
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
	{"the sender is gone before", func(f *fixture) {
		f.sendDone(Message{ID: "m-0", Payload: "warms connections"})
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		f.deliver(ctx, first) // whatever a sender that is gone learns
		f.sendDone(first)
		f.took(first, 1, 1)
	}},
}

// inFlight delivers m in the background and returns when its handler runs. end
// lets the handler succeed and returns what the sender learned.
func (f *fixture) inFlight(m Message) (end func() Answer) {
	f.Helper()
	let := f.inFlightFor(f.ctx, m)
	return func() Answer {
		f.Helper()
		a := let()
		if !f.adapter.Detached || a.Verdict != InProgress {
			f.expect(a, Done)
		}
		return a
	}
}

func (f *fixture) inFlightFor(ctx context.Context, m Message) (end func() Answer) {
	f.Helper()
	running, release, ended, answer := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan Answer, 1)
	var entered, released sync.Once
	f.handle(func(ctx context.Context, m Message) (string, error) {
		once := false
		entered.Do(func() { once = true; close(running) })
		if !once { // a second run, which a broken adapter starts: it must not wait
			return f.act(ctx, m)
		}
		defer close(ended)
		<-release
		return f.act(ctx, m)
	})
	deliver := f.deliver
	go func() { answer <- deliver(ctx, m) }()
	select {
	case <-running:
	case a := <-answer:
		f.Fatalf("the sender learned %q (%s) before the handler ran", a.Verdict, a.Detail)
	}
	let := func() { released.Do(func() { close(release) }) }
	f.Cleanup(let)
	return func() Answer {
		let()
		<-ended
		return <-answer
	}
}
