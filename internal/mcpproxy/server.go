package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// fromServer reads the server until its output ends. It goes on when the client
// can be written to no more: guarded calls still need their answers.
func (s *session) fromServer() {
	lines := mcpwire.NewLines(s.child.stdout, s.inspected())
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, mcpwire.ErrTooLarge):
			err = s.largeFromServer(line, lines)
		case len(line) > 0:
			s.serverLine(line)
		}
		if err != nil {
			s.serverGone()
			return
		}
	}
}

func (s *session) serverLine(line []byte) {
	m := mcpwire.Parse(line)
	switch m.Kind {
	case mcpwire.Response:
		if s.response(&m) {
			return
		}
	case mcpwire.Request:
		if s.ask(m.ID) {
			return
		}
	case mcpwire.Batch:
		s.serverBatch(&m)
		return
	}
	_, _ = s.toClient.write(line)
}

// serverBatch passes an array of messages on: whole, if no member is taken, and
// one by one otherwise, which a reader of batches takes as well.
func (s *session) serverBatch(m *mcpwire.Message) {
	if s.concerns(m) {
		for _, member := range m.Members {
			s.serverLine(append(bytes.Clone(member.Raw), '\n'))
		}
		return
	}
	for i := range m.Members {
		switch member := &m.Members[i]; member.Kind {
		case mcpwire.Request:
			s.ask(member.ID)
		case mcpwire.Response:
			if w, seen := s.unwatch(member.ID); seen {
				s.running.Enter()
				go func() {
					defer s.running.Leave()
					s.show(w, member)
				}()
			}
		}
	}
	_, _ = s.toClient.write(m.Raw)
}

// concerns reports whether a member of a batch is taken: the answer to a guarded
// call, or a question when the client is gone.
func (s *session) concerns(m *mcpwire.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, member := range m.Members {
		key := mcpwire.IDKey(member.ID)
		switch {
		case member.Kind == mcpwire.Request && s.silent,
			member.Kind == mcpwire.Response && (s.calls[key] != nil || s.late[key]):
			return true
		}
	}
	return false
}

// unwatch returns what an answer is to, if it is to be looked at.
func (s *session) unwatch(id []byte) (watched, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := mcpwire.IDKey(id)
	w, seen := s.watched[key]
	delete(s.watched, key)
	return w, seen
}

// response reports whether it has taken a response.
func (s *session) response(m *mcpwire.Message) bool {
	key := mcpwire.IDKey(m.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if call := s.calls[key]; call != nil && call.forwarded {
		select {
		case call.answer <- answer{message: m}:
		default: // a second answer to one call
		}
		return true
	}
	if s.late[key] {
		delete(s.late, key)
		s.Log.Warn("an answer came after its call was given up; it is not recorded")
		return true
	}
	w, seen := s.watched[key]
	if !seen {
		return false
	}
	delete(s.watched, key)
	s.running.Enter()
	go func() {
		defer s.running.Leave()
		s.lookedAt(w, m)
	}()
	return true
}

// lookedAt passes an answer on after the gate has seen it.
func (s *session) lookedAt(w watched, m *mcpwire.Message) {
	line := s.show(w, m)
	if !mcpwire.Ended(line) {
		line = append(bytes.Clone(line), '\n')
	}
	_, _ = s.toClient.write(line)
}

// show shows an answer to the gate, and returns it as the client shall have it.
func (s *session) show(w watched, m *mcpwire.Message) []byte {
	ctx, cancel := context.WithTimeout(s.ctx, storeTime)
	defer cancel()
	return seen(ctx, s.Gate, s.Tools, "", w, m, func(err error) { s.Log.Warn("what became of a task was not stored", "error", err) })
}

// seen shows an answer to the gate and returns the message as the client shall
// have it.
func seen(ctx context.Context, gate Gate, tools func(json.RawMessage), principal string, w watched, m *mcpwire.Message, failed func(error)) []byte {
	switch {
	case m.Result == nil:
	case w.method == methodList:
		result := gate.Tools(ctx, m.Result)
		if tools != nil {
			tools(m.Result)
		}
		if !bytes.Equal(result, m.Result) {
			return m.WithResult(mcpwire.OneLine(result))
		}
	default:
		if err := gate.Task(ctx, principal, w.method, w.params, m.Result); err != nil {
			failed(err)
		}
	}
	return m.Raw
}

// ask notes a request of the server's. It reports whether it was answered here.
func (s *session) ask(id []byte) bool {
	s.mu.Lock()
	silent := s.silent
	if !silent && len(s.asked) < maxWatched {
		s.asked[mcpwire.IDKey(id)] = bytes.Clone(id)
	}
	s.mu.Unlock()
	if silent {
		s.answerGone(id)
	}
	return silent
}

// largeFromServer passes on a message that is too large to be read whole. If it
// answers a guarded call, that is recorded, and a note in place of the answer.
func (s *session) largeFromServer(begin []byte, lines *mcpwire.Lines) error {
	var g mcpwire.Glance
	_, _ = g.Write(begin)
	_ = s.toClient.stream(func(w io.Writer) error {
		out := &enduring{w: w}
		_, _ = out.Write(begin)
		_ = lines.Rest(io.MultiWriter(&g, out)) // a failed read fails again
		return out.err
	})
	_ = lines.Rest(&g) // what a client that is gone does not take
	s.mu.Lock()
	defer s.mu.Unlock()
	key := mcpwire.IDKey(g.ID)
	delete(s.watched, key)
	delete(s.late, key)
	if call := s.calls[key]; call != nil && call.forwarded && g.Answer && g.Method == nil {
		call.passed = true
		select {
		case call.answer <- large(&g):
		default:
		}
	}
	return nil
}

// large is the answer of which only a glance was had.
func large(g *mcpwire.Glance) answer {
	if !g.Result {
		return answer{err: errors.New("the server answered with an error that is too large to be read")}
	}
	failed := string(g.IsError) == "true"
	return answer{reply: mcpcall.Reply{Result: fmt.Appendf(nil,
		`{"content":[{"type":"text","text":"onceguard: the tool ran and answered. The answer was larger than 16 MiB and was not kept."}],"isError":%t}`, failed)}}
}

// serverGone ends every call that can have no answer any more.
func (s *session) serverGone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = true
	for _, call := range s.calls {
		call.lose()
	}
}

// enduring swallows what can be written no more.
type enduring struct {
	w   io.Writer
	err error
}

// Write implements io.Writer; it never fails.
func (e *enduring) Write(p []byte) (int, error) {
	if e.err == nil {
		_, e.err = e.w.Write(p)
	}
	return len(p), nil
}
