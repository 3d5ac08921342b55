package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// httpCall is a call of a guarded tool, and the response that its client waits
// for.
type httpCall struct {
	message mcpwire.Message
	request *http.Request
	cancel  context.CancelCauseFunc
	users   int // the handler and the upstream; under the proxy's lock

	mu      sync.Mutex
	w       http.ResponseWriter
	begun   bool // events have been written
	over    bool // the handler has answered
	failed  bool // the client takes no more
	came    *arrived
	refused *arrived // a refusal of the server's HTTP side, before any work
	closed  *arrived // the server ended its stream well, and without a word
}

// arrived is what the server answered, as it came.
type arrived struct {
	status  int
	header  http.Header
	body    []byte // a whole body, or the event that holds the answer
	events  bool
	message mcpwire.Message
}

// clientTime bounds each write to a client: one that reads no more must not keep
// an outcome from being stored.
const clientTime = 10 * time.Second

// guarded takes a call of a guarded tool to the gate and answers it.
func (p *HTTP) guarded(w http.ResponseWriter, r *http.Request, m *mcpwire.Message, principal string) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	// The end of the request is the client's, until the answer is there.
	stay := context.AfterFunc(r.Context(), func() { cancel(errCancelled) })
	defer stay()
	key := callKey{principal, r.Header.Get(headerSession), mcpwire.IDKey(m.ID)}
	call := &httpCall{message: *m, request: r, cancel: cancel, w: w}
	if text := p.enter(key, call); text != "" {
		cancel(nil)
		w.Header().Set("Retry-After", "5")
		refuseHTTP(w, http.StatusServiceUnavailable, m.ID, text)
		return
	}
	defer p.leave(key, call)
	reply := p.Gate.Do(ctx, mcpcall.Call{Params: m.Params, Header: r.Header.Clone(), Principal: principal}, func(ctx context.Context, params json.RawMessage, header http.Header) (mcpcall.Reply, error) {
		p.again(call)
		defer p.leave(key, call)
		return p.forward(ctx, call, params, header)
	})
	told := reply.Handle.RequestID() != (onceguard.RequestID{}) // or it may be a repeat of anything
	if told {
		p.acknowledge(r, principal, reply.Handle)
	}
	stay()
	if !call.finish(reply) || r.Context().Err() != nil || !told {
		return
	}
	sctx, end := context.WithTimeout(context.WithoutCancel(r.Context()), storeTime)
	defer end()
	if err := p.Gate.Delivered(sctx, reply.Handle); err != nil {
		p.Log.DebugContext(sctx, "the evidence that an answer was written was not stored", "request_id", reply.Handle.RequestID(), "error", err)
		return
	}
	p.told.add(receiverKey{principal, r.Header.Get(headerSession)}, reply.Handle)
}

// enter takes a call up, or says why not.
func (p *HTTP) enter(key callKey, call *httpCall) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.draining.Load():
		return textDraining
	case p.count >= maxCalls:
		return textBusy
	}
	p.count++
	call.users = 1
	p.running.Enter()
	if p.calls[key] == nil {
		p.calls[key] = make(map[*httpCall]bool)
	}
	p.calls[key][call] = true
	return ""
}

func (p *HTTP) again(call *httpCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	call.users++
}

func (p *HTTP) leave(key callKey, call *httpCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if call.users--; call.users > 0 {
		return
	}
	call.cancel(nil)
	p.count--
	p.running.Leave()
	if delete(p.calls[key], call); len(p.calls[key]) == 0 {
		delete(p.calls, key)
	}
}

// cancels takes a cancellation. It reports whether that was one of a guarded
// call, which goes on. Where several clients share a caller's name and no session
// tells them apart, it ends nobody's wait.
func (p *HTTP) cancels(m *mcpwire.Message, principal, session string) bool {
	if m.Kind != mcpwire.Notification || m.Method != methodCancelled {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls[callKey{principal, session, mcpwire.IDKey(cancelledID(m))}]
	if len(calls) == 1 {
		for call := range calls {
			call.cancel(errCancelled)
		}
	}
	return len(calls) > 0
}

// event passes an event on to the client, as far as it is there.
func (c *httpCall) event(header http.Header, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.failed {
		return
	}
	if !c.begun {
		c.begun = true
		copyHeader(c.w.Header(), header)
		c.w.Header().Del("Content-Length")
		c.w.WriteHeader(http.StatusOK)
	}
	c.write(raw)
}

// write writes and flushes. The call's lock is held.
func (c *httpCall) write(b []byte) {
	rc := http.NewResponseController(c.w)
	_ = rc.SetWriteDeadline(time.Now().Add(clientTime))
	_, err := c.w.Write(b)
	if err == nil {
		err = rc.Flush()
	}
	c.failed = err != nil
	_ = rc.SetWriteDeadline(time.Time{})
}

// finish writes the answer, and reports whether it left whole.
func (c *httpCall) finish(reply mcpcall.Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.failed {
		return false
	}
	came := c.came
	switch {
	case reply.Verdict == mcpcall.NotRun && c.refused != nil:
		came = c.refused
	case reply.Verdict == mcpcall.Uncertain && c.closed != nil:
		// The client gets what the server gave it: it knows that it must ask
		// again, and is told then.
		copyHeader(c.w.Header(), c.closed.header)
		c.w.WriteHeader(http.StatusOK)
		c.write(nil)
		return false
	case reply.Verdict != "", came != nil && (!bytes.Equal(came.message.Result, reply.Result) || !bytes.Equal(came.message.Error, reply.Error)):
		came = nil
	}
	switch {
	case c.begun && came != nil && came.events:
		c.write(came.body)
	case c.begun:
		c.write(mcpwire.DataEvent(frame(c.message.ID, reply, nil)))
	case came != nil:
		copyHeader(c.w.Header(), came.header)
		if came.events {
			c.w.Header().Del("Content-Length")
		}
		c.w.WriteHeader(came.status)
		c.write(came.body)
	default:
		c.w.Header().Set("Content-Type", "application/json")
		c.w.Header().Set("Cache-Control", "no-store")
		c.w.WriteHeader(http.StatusOK)
		c.write(frame(c.message.ID, reply, nil))
	}
	return !c.failed
}
