package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// guardedCall is a call of a guarded tool, from its arrival until it is answered
// and needs the server no more.
type guardedCall struct {
	message mcpwire.Message
	cancel  context.CancelCauseFunc
	answer  chan answer // of the server; the first counts

	// Under the session's lock.
	forwarded bool
	users     int              // the goroutine that answers, and the upstream's
	silent    bool             // the client gave the call up and waits for no answer
	passed    bool             // the answer went to the client already, being too large to keep
	came      *mcpwire.Message // the server's answer
}

// answer is what became of a forwarded call.
type answer struct {
	message *mcpwire.Message
	reply   mcpcall.Reply // where the message is too large to have
	err     error
}

// lateTime is how long the answer of a call that was given up is waited for: a
// server that heeds a cancellation may still say what it did.
const lateTime = 3 * time.Second

// maxCalls bounds the guarded calls of one client that are under way.
const maxCalls = 1024

// maxLate bounds what is remembered of calls whose answers shall not come
// through any more.
const maxLate = 4096

// guarded takes a call of a guarded tool to the gate and answers it.
func (s *session) guarded(m *mcpwire.Message) {
	key := mcpwire.IDKey(m.ID)
	ctx, cancel := context.WithCancelCause(context.WithValue(s.ctx, sessionKey{}, s))
	call := &guardedCall{message: *m, cancel: cancel, answer: make(chan answer, 1), users: 1}
	s.mu.Lock()
	refusal := ""
	switch {
	case s.draining:
		refusal = textDraining
	case s.calls[key] != nil || s.late[key]:
		refusal = textIDInUse
	case len(s.calls) >= maxCalls:
		refusal = textBusy
	default:
		s.calls[key] = call
		s.running.Enter()
	}
	s.mu.Unlock()
	if refusal != "" {
		cancel(nil)
		s.refuse(m.ID, codeOurs, refusal)
		return
	}
	go func() {
		defer s.running.Leave()
		defer s.leaveCall(key, call)
		reply := s.Gate.Do(ctx, mcpcall.Call{Params: m.Params}, func(ctx context.Context, params json.RawMessage, _ http.Header) (mcpcall.Reply, error) {
			a := s.forward(ctx, key, call, params)
			if a.message == nil {
				return a.reply, a.err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			call.came = a.message
			return mcpcall.Reply{Result: a.message.Result, Error: a.message.Error}, nil
		})
		if reply.Handle.RequestID() != (onceguard.RequestID{}) { // or it may be a repeat of anything
			s.acknowledge(reply.Handle)
		}
		s.tell(call, reply)
	}()
}

// tell answers the client, unless it waits no more, and keeps the evidence.
func (s *session) tell(call *guardedCall, reply mcpcall.Reply) {
	s.mu.Lock()
	silent, passed, came := call.silent, call.passed, call.came
	s.mu.Unlock()
	if reply.Verdict != "" {
		came = nil
	}
	if silent {
		return
	}
	if !passed {
		line := frame(call.message.ID, reply, came)
		if !mcpwire.Ended(line) {
			line = append(bytes.Clone(line), '\n')
		}
		if _, err := s.toClient.write(line); err != nil {
			s.Log.Debug("the client cannot be answered", "error", err)
			return
		}
	}
	ctx, cancel := context.WithTimeout(s.ctx, storeTime)
	defer cancel()
	if err := s.Gate.Delivered(ctx, reply.Handle); err != nil {
		s.Log.Debug("the evidence that an answer was written was not stored", "request_id", reply.Handle.RequestID(), "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if reply.Handle.RequestID() != (onceguard.RequestID{}) && len(s.told) < maxWatched {
		s.told = append(s.told, reply.Handle)
	}
}

// forward sends the call to the server and waits for its answer. The bytes are
// the client's own, unless the gate has changed the params.
func (s *session) forward(ctx context.Context, key string, call *guardedCall, params json.RawMessage) answer {
	s.running.Enter()
	defer s.running.Leave()
	s.mu.Lock()
	gone, again := s.gone, call.forwarded
	if !gone && !again {
		call.forwarded = true
		call.users++
	}
	s.mu.Unlock()
	switch {
	case gone:
		return answer{err: onceguard.NotExecuted(errGone)}
	case again:
		return answer{err: onceguard.NotExecuted(errors.New("the call was forwarded before"))}
	}
	defer s.leaveCall(key, call)
	line := call.message.Raw
	if !bytes.Equal(params, call.message.Params) {
		line = call.message.WithParams(mcpwire.OneLine(params))
	}
	if !mcpwire.Ended(line) {
		line = append(bytes.Clone(line), '\n') // the client's last line; the server must read it now
	}
	if n, err := s.toServer.write(line); err != nil {
		if n == 0 {
			return answer{err: onceguard.NotExecuted(fmt.Errorf("the server takes no more: %w", err))}
		}
		return answer{err: fmt.Errorf("the server took half of the call: %w", err)}
	}
	select {
	case a := <-call.answer:
		return a
	case <-ctx.Done():
		return s.giveUp(ctx, key, call)
	}
}

// giveUp ends the wait for an answer. The server is told only when the client's
// cancellation is the reason, which the gate lets through for tools that may be
// cancelled.
func (s *session) giveUp(ctx context.Context, key string, call *guardedCall) answer {
	if errors.Is(context.Cause(ctx), errCancelled) {
		_, _ = s.toServer.write(fmt.Appendf(nil, `{"jsonrpc":"2.0","method":%q,"params":{"requestId":%s}}`+"\n", methodCancelled, call.message.ID))
		late := time.NewTimer(lateTime)
		defer late.Stop()
		select {
		case a := <-call.answer:
			return a
		case <-late.C:
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case a := <-call.answer:
		return a
	default:
	}
	if len(s.late) < maxLate {
		s.late[key] = true
	}
	return answer{err: fmt.Errorf("no answer came: %w", context.Cause(ctx))}
}

// leaveCall forgets a call when nobody needs it any more.
func (s *session) leaveCall(key string, call *guardedCall) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if call.users--; call.users == 0 {
		call.cancel(nil) // not before: a call that may be cancelled runs on when it is answered early
		delete(s.calls, key)
	}
}

// inUse reports whether an id is that of a guarded call whose answer is still
// awaited: another request with it would be taken for that call.
func (s *session) inUse(id []byte) bool {
	key := mcpwire.IDKey(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[key] != nil || s.late[key]
}

// cancel takes a cancellation. It reports whether that was one of a guarded call:
// such a call goes on, and its answer is not delivered.
func (s *session) cancel(id []byte) bool {
	if id == nil {
		return false
	}
	key := mcpwire.IDKey(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	call := s.calls[key]
	if call == nil {
		return s.late[key]
	}
	call.silent = true
	call.cancel(errCancelled)
	return true
}

// lose tells a call that no answer can come. The session's lock is held.
func (c *guardedCall) lose() {
	select {
	case c.answer <- answer{err: errGone}:
	default:
	}
}
