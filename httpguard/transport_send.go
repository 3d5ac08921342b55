package httpguard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

// sending is one guarded request on its way.
type sending struct {
	*Transport
	rule Rule
	r    *http.Request
	body []byte

	finished chan struct{}
	receipt  onceguard.Receipt[response]
	err      error
	panicked any
	live     *http.Response // of the attempt that ran in this call
	known    bool           // live says what happened

	mu   sync.Mutex
	left bool // the caller has gone
}

// run guards the exchange on a goroutine of its own, and returns before its end
// where the caller's context ends.
func (s *sending) run(guard *onceguard.Guard, req onceguard.Request) (*http.Response, error) {
	ctx := s.r.Context()
	s.early.Go(func() {
		defer s.finish()
		s.receipt, s.err = onceguard.Do(ctx, guard, req, s.effect)
	})
	select {
	case <-s.finished:
	case <-ctx.Done():
		if s.leave() {
			id, _ := onceguard.NewRequestID(guard.Scope(), req.Action, req.Key)
			return nil, &onceguard.Error{
				Code: onceguard.ErrInProgress, RequestID: id, Scope: guard.Scope(), Action: req.Action, Key: req.Key.String(),
				RetryAfter: time.Second, MayHaveRun: true, Err: context.Cause(ctx),
			}
		}
	}
	if s.panicked != nil {
		panic(s.panicked)
	}
	return s.result()
}

// finish ends the goroutine of run. A panic of Base goes on in the caller's; if
// that has gone, nobody but the log would hear of it.
func (s *sending) finish() {
	p := recover()
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(s.finished)
	s.panicked = p
	if s.panicked == nil && s.err == nil && s.receipt.RequestID.IsZero() {
		s.err = &onceguard.Error{Code: onceguard.ErrUncertain, Action: s.rule.Action, MayHaveRun: true, Reason: "the transport ended its goroutine (runtime.Goexit)"}
	}
	if !s.left {
		return
	}
	s.drop()
	if p != nil {
		slog.Error("httpguard: the transport panicked; its effect may have happened", "action", s.rule.Action, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
}

// leave is false when the end came first.
func (s *sending) leave() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.finished:
		return false
	default:
		s.left = true
		return true
	}
}

// drop closes a response that nobody will read.
func (s *sending) drop() {
	if s.live != nil {
		_ = s.live.Body.Close()
		s.live = nil
	}
}

// maxFresh bounds how often one attempt takes another connection because a
// kept-alive one had died before anything was written.
const maxFresh = 3

// effect sends the request once.
func (s *sending) effect(ctx context.Context, a *onceguard.Attempt) (response, error) {
	s.drop() // of an attempt of this call that was taken over
	s.known = false
	downstream, err := s.rule.Preset.downstream(a.DownstreamKey())
	if err != nil {
		return response{}, onceguard.NotExecuted(err)
	}
	ready := a.Ready
	if s.ready != nil {
		ready = s.ready
	}
	for n := 1; ; n++ {
		if err := ready(); err != nil {
			return response{}, err
		}
		// Not the effect's own context: a response that is streamed to the caller
		// outlives it.
		sctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
		sctx, w := watch(sctx, ready, s.rule.repeats(), cancel)
		out, err := s.rule.outgoing(sctx, s.r, s.body, downstream)
		if err != nil {
			cancel(nil)
			return response{}, err
		}
		if _, framed := s.framed.Load(out.URL.Host); !framed && !s.ReuseConnections {
			out.Close = true
		}
		resp, err := s.base().RoundTrip(out)
		if err == nil {
			return s.capture(resp, func() { stop() }, cancel)
		}
		stop()
		cancel(nil)
		if n < maxFresh && w.again(err) && ctx.Err() == nil {
			continue
		}
		return response{}, w.classify(err)
	}
}

// class says what a response means.
func (s *sending) class(resp *http.Response) onceguard.StatusClass {
	if resp.StatusCode < 200 || (resp.StatusCode >= 300 && resp.StatusCode < 400) {
		return onceguard.StatusUnknown
	}
	if s.rule.Classify != nil {
		return s.rule.Classify(resp)
	}
	codes := append(append([]int(nil), s.rule.BeforeWork...), s.rule.Preset.BeforeWork.Value...)
	return onceguard.ClassifyStatus(resp.StatusCode, codes...)
}

// capture turns a response into what the receipt keeps and what the effect says.
//
// The status decides, not the body: a 2xx whose body breaks off is the provider's
// word that it acted, and calling it unknown would have a person look for
// something that is known. What is lost is the body alone, so the receipt has
// none, and the caller gets what arrived and then the error.
func (s *sending) capture(resp *http.Response, unlink func(), cancel context.CancelCauseFunc) (response, error) {
	if resp.ProtoMajor >= 2 {
		s.framed.Store(s.r.URL.Host, true)
	} else {
		s.framed.Delete(s.r.URL.Host)
	}
	class := s.class(resp)
	if class == onceguard.StatusUnknown {
		head, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		_ = resp.Body.Close()
		cancel(nil)
		return response{}, &ResponseError{Status: resp.StatusCode, Header: resp.Header, Body: head}
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, int64(s.MaxResponse)+1))
	p := response{status: resp.StatusCode, fields: s.storable(resp.Header)}
	live := *resp
	live.Request, s.live, s.known = s.r, &live, true
	switch {
	case err != nil:
		p.gap, p.length = gapIncomplete, int64(len(head))
		live.Body = &cutBody{Reader: bytes.NewReader(head), err: err}
	case len(head) > s.MaxResponse:
		p.gap, p.length = gapTooLarge, max(0, resp.ContentLength)
		unlink()
		stop := context.AfterFunc(s.r.Context(), func() { cancel(context.Cause(s.r.Context())) })
		live.Body = &restBody{Reader: io.MultiReader(bytes.NewReader(head), resp.Body), rest: resp.Body, end: func() { stop(); cancel(nil) }}
	default:
		p.body = head
		live.Body = io.NopCloser(bytes.NewReader(head))
	}
	if p.gap != gapTooLarge {
		_ = resp.Body.Close()
		unlink()
		cancel(nil)
	}
	why := fmt.Errorf("the provider answered HTTP %d", resp.StatusCode)
	switch class {
	case onceguard.StatusSucceeded:
		return p, nil
	case onceguard.StatusRefused:
		return p, onceguard.Refused(why)
	default:
		return response{}, onceguard.NotExecuted(why)
	}
}

// result is what RoundTrip returns once the guard has its verdict.
func (s *sending) result() (*http.Response, error) {
	receipt, err := s.receipt, s.err
	switch {
	case s.live != nil && !receipt.Replayed && (err == nil || errors.Is(err, onceguard.ErrRefused) || errors.Is(err, onceguard.ErrNotExecuted) || errors.Is(err, onceguard.ErrNoResult)):
		return s.live, nil
	case s.live != nil && s.known && errors.Is(err, onceguard.ErrUnsettled):
		s.live.Header = s.live.Header.Clone()
		s.live.Header.Set(HeaderReceipt, "pending")
		return s.live, nil
	}
	s.drop()
	if err == nil || (errors.Is(err, onceguard.ErrRefused) && receipt.Value.status != 0) {
		return s.replay(s.r, receipt)
	}
	return nil, err
}

// cutBody is a body that broke off.
type cutBody struct {
	io.Reader
	err error
}

func (b *cutBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = b.err
	}
	return n, err
}

func (b *cutBody) Close() error { return nil }

// restBody is a body too large for a receipt, on its way to the caller.
type restBody struct {
	io.Reader
	rest io.Closer
	end  func()
}

func (b *restBody) Close() error {
	err := b.rest.Close()
	b.end()
	return err
}
