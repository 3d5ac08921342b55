package httpguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

// verdict is what the guard said about an exchange.
type verdict struct {
	receipt onceguard.Receipt[response]
	err     error
}

// serve runs the request under the guard and answers.
func (e *exchange) serve(req onceguard.Request) {
	req.Limits.Wait = e.wait
	if !e.opts.EarlyReturn {
		e.answer(e.do(e.r.Context(), req, func() {}))
		return
	}
	e.serveEarly(req)
}

// do is the guarded run, on the goroutine that it is called on.
func (e *exchange) do(ctx context.Context, req onceguard.Request, started func()) verdict {
	receipt, err := onceguard.Do(ctx, e.guard.Scoped(e.scope), req, func(ctx context.Context, a *onceguard.Attempt) (response, error) {
		state := &running{attempt: a}
		ctx = context.WithValue(ctx, runningKey{}, state)
		rec := e.begin(ctx)
		e.ended = false
		started()
		e.next.ServeHTTP(rec, e.request(ctx))
		e.live = rec.end(e.storable)
		e.ended, e.over = true, errors.Is(context.Cause(ctx), onceguard.ErrMaxRun)
		return e.live, e.ending(state, rec.sent)
	})
	return verdict{receipt, err}
}

// begin makes the recorder of an attempt. A call whose attempt was taken over may
// win the next one as well; by then its client may be gone, or have a part of the
// first answer.
func (e *exchange) begin(ctx context.Context) *recorder {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cut = e.cut || (e.rec != nil && e.rec.passed())
	if e.away || e.cut {
		e.rec = newRecorder(nil, e.r, e.opts.MaxResponse)
	} else {
		e.rec = newRecorder(e.w, e.r, e.opts.MaxResponse)
	}
	e.effect = ctx
	return e.rec
}

// leave takes the client away from the run, for ServeHTTP to return. It is false
// when the client has part of a response already.
func (e *exchange) leave() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cut || !e.rec.detach() {
		return false
	}
	e.away = true
	return true
}

// request is what the handler gets. One that may outlive ServeHTTP shares no map
// with the request that outer handlers hold.
func (e *exchange) request(ctx context.Context) *http.Request {
	if e.opts.EarlyReturn {
		return withBody(e.r.Clone(ctx), e.body)
	}
	return withBody(e.r.WithContext(ctx), e.body)
}

// ending turns the handler's answer into what an effect says.
func (e *exchange) ending(state *running, sent http.Header) error {
	o := state.outcome.Load()
	if o == nil {
		o = &outcome{ClassifyResponse(e.live.status), fmt.Sprintf("the handler answered HTTP %d", e.live.status)}
		if e.opts.Classify != nil {
			o.class = e.opts.Classify(e.r, e.live.status, sent)
		}
	}
	e.class = o.class
	switch err := errors.New(o.reason); o.class {
	case onceguard.StatusSucceeded:
		return nil
	case onceguard.StatusRefused:
		return onceguard.Refused(err)
	case onceguard.StatusNotExecuted:
		return onceguard.NotExecuted(err)
	default:
		return err
	}
}

// serveEarly runs the guard on a goroutine of its own and returns before it
// where the client has gone or has waited as long as it wanted.
func (e *exchange) serveEarly(req onceguard.Request) {
	begin := time.Now()
	var once sync.Once
	started, done := make(chan struct{}), make(chan struct{})
	var v verdict
	var panicked any
	left := make(chan struct{}) // closed when nobody hears a panic any more
	e.early.Go(func() {
		completed := false
		defer close(done)
		defer func() {
			if completed {
				return
			}
			panicked = recover()
			if panicked == nil { // runtime.Goexit: there is no verdict
				v = verdict{err: &onceguard.Error{Code: onceguard.ErrUncertain, RequestID: e.id, State: onceguard.Uncertain, MayHaveRun: true}}
				return
			}
			e.report(panicked, isClosed(left))
		}()
		v = e.do(e.r.Context(), req, func() { once.Do(func() { close(started) }) })
		completed = true
	})
	if !e.stay(started, done, begin) {
		close(left)
		return
	}
	if panicked != nil {
		panic(panicked)
	}
	e.answer(v)
}

// stay waits for the end of the run. It is false when ServeHTTP is over first;
// the client has been answered then, or is gone.
func (e *exchange) stay(started, done <-chan struct{}, begin time.Time) bool {
	select {
	case <-done:
		return true
	case <-started:
	}
	var over <-chan time.Time
	if e.prefer >= 0 {
		t := time.NewTimer(max(0, e.prefer-time.Since(begin)))
		defer t.Stop()
		over = t.C
	}
	e.mu.Lock()
	effect := e.effect
	e.mu.Unlock()
	select {
	case <-done:
		return true
	case <-over:
	case <-e.r.Context().Done():
	case <-effect.Done(): // at MaxRun, and when the run ends
	}
	overdue := errors.Is(context.Cause(effect), onceguard.ErrMaxRun)
	if (effect.Err() != nil && !overdue) || isClosed(done) || !e.leave() {
		<-done // the answer is there, or on its way to the client
		return true
	}
	switch {
	case e.r.Context().Err() != nil: // nobody to tell
	case overdue:
		e.overdue()
	default:
		e.inProgress(nil)
	}
	return false
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// report logs a panic where it happened: rethrown on another goroutine it has
// lost its trace, and after ServeHTTP nobody else would hear of it.
func (e *exchange) report(p any, alone bool) {
	if p == http.ErrAbortHandler {
		return
	}
	e.opts.Logger.Error("httpguard: the handler panicked; its effect may have happened", "action", e.opts.Action, "request_id", e.id.String(),
		"panic", fmt.Sprint(p), "after_return", alone, "stack", string(debug.Stack()))
}
