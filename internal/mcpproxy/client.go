package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// fromClient reads the client until it closes its end.
func (s *session) fromClient() {
	lines := mcpwire.NewLines(s.Stdin, s.inspected())
	for {
		line, err := lines.Next()
		switch {
		case errors.Is(err, mcpwire.ErrTooLarge):
			err = s.largeFromClient(line, lines)
		case len(line) > 0:
			s.clientLine(line)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.Log.Warn("the client can be read no more", "error", err)
			}
			return
		}
	}
}

func (s *session) clientLine(line []byte) {
	m := mcpwire.Parse(line)
	switch {
	case m.Calls(methodCall):
		s.clientCall(&m)
	case m.Kind == mcpwire.Batch:
		s.passBatch(&m)
	case s.looksAt(&m, false):
		s.pass(&m)
	}
}

// pass writes a message to the server as it is. A server that reads no more has
// ended, or will be.
func (s *session) pass(m *mcpwire.Message) { _, _ = s.toServer.write(m.Raw) }

// looksAt remembers what must be known of a message that is passed on, and says
// whether it is. A batch's members are looked at one by one; a list asked for in
// one is answered as the server has it.
func (s *session) looksAt(m *mcpwire.Message, inBatch bool) bool {
	switch m.Kind {
	case mcpwire.Request:
		if s.inUse(m.ID) {
			s.refuse(m.ID, codeOurs, textIDInUse)
			return false
		}
		s.acknowledge(mcpcall.Handle{})
		if m.Method == "initialize" {
			s.greets(m)
		}
		if (m.Method == methodList && !inBatch) || settlesTask(m.Method) {
			s.watch(m)
		}
	case mcpwire.Response:
		if s.takes(m) {
			return false
		}
		s.mu.Lock()
		delete(s.asked, mcpwire.IDKey(m.ID))
		s.mu.Unlock()
	case mcpwire.Notification:
		if m.Method == methodCancelled {
			return !s.cancel(cancelledID(m))
		}
	}
	return true
}

// passBatch passes a batch on, without the members that are not.
func (s *session) passBatch(m *mcpwire.Message) {
	var kept [][]byte
	for i := range m.Members {
		if s.looksAt(&m.Members[i], true) {
			kept = append(kept, m.Members[i].Raw)
		}
	}
	switch {
	case len(kept) == len(m.Members):
		s.pass(m)
	case len(kept) > 0:
		_, _ = s.toServer.write(slices.Concat([]byte("["), bytes.Join(kept, []byte(",")), []byte("]\n")))
	}
}

// clientCall takes a message that is, or may be, a call of a tool.
func (s *session) clientCall(m *mcpwire.Message) {
	if m.Kind == mcpwire.Batch {
		s.batch(m)
		return
	}
	tool, refusal := readCall(m)
	if refusal != nil {
		_, _ = s.toClient.write(append(refusal, '\n'))
		return
	}
	switch decision := s.Gate.Decide(tool); {
	case decision == mcpcall.Pass:
		if s.looksAt(m, false) {
			s.pass(m)
		}
	case m.Kind == mcpwire.Notification:
		// Nobody would hear what became of it, and servers ignore such calls.
		s.Log.Warn("a call of a guarded tool without an id was dropped; nothing was executed")
	case decision == mcpcall.Own:
		s.ownTool(m)
	default:
		s.guarded(m)
	}
}

// batch passes a batch with calls of tools on where none of them is guarded.
func (s *session) batch(m *mcpwire.Message) {
	if callsGuarded(s.Gate, m) {
		if b := refusals(m, textBatch); b != nil {
			_, _ = s.toClient.write(append(b, '\n'))
		}
		return
	}
	s.passBatch(m)
}

// ownTool answers a call of one of the gate's own tools.
func (s *session) ownTool(m *mcpwire.Message) {
	s.running.Enter()
	go func() {
		defer s.running.Leave()
		ctx, cancel := context.WithTimeout(s.ctx, storeTime)
		defer cancel()
		_, _ = s.toClient.write(append(frame(m.ID, s.Gate.Helper(ctx, "", m.Params), nil), '\n'))
	}()
}

func (s *session) refuse(id []byte, code int, text string) {
	_, _ = s.toClient.write(append(mcpwire.Failure(id, mcpwire.ErrorObject(code, text)), '\n'))
}

// largeFromClient passes a message on that is too large to be read whole, unless
// it may be a call of a guarded tool.
func (s *session) largeFromClient(begin []byte, lines *mcpwire.Lines) error {
	var g mcpwire.Glance
	_, _ = g.Write(begin)
	if passesLarge(s.Gate, &g) {
		return s.toServer.stream(func(w io.Writer) error {
			if _, err := w.Write(begin); err != nil {
				return err
			}
			return lines.Rest(w)
		})
	}
	if err := lines.Rest(&g); err != nil {
		return err
	}
	id := g.ID
	if g.Array {
		id = nil
	}
	s.refuse(id, mcpwire.CodeInvalidRequest, textTooLarge)
	return nil
}

// clientGone answers what the server has asked the client, if a guarded call is
// under way that may be waiting for it: nobody else will. Without one the server's
// standard input ends now, and it knows.
func (s *session) clientGone() {
	s.mu.Lock()
	s.silent = len(s.calls) > 0
	var asked map[string][]byte
	if s.silent {
		asked, s.asked = s.asked, nil
	}
	s.mu.Unlock()
	for _, id := range asked {
		s.answerGone(id)
	}
}

func (s *session) answerGone(id []byte) {
	_, _ = s.toServer.write(append(mcpwire.Failure(id, mcpwire.ErrorObject(codeOurs, textGone)), '\n'))
}

// acknowledge takes a request of the client as evidence that it got what it was
// told before. A repeat of the same call is none.
func (s *session) acknowledge(repeat mcpcall.Handle) {
	s.mu.Lock()
	got, kept := split(s.told, repeat)
	s.told = kept
	s.mu.Unlock()
	if len(got) == 0 {
		return
	}
	s.running.Enter()
	go func() {
		defer s.running.Leave()
		ctx, cancel := context.WithTimeout(s.ctx, storeTime)
		defer cancel()
		for _, h := range got {
			if err := s.Gate.Acknowledged(ctx, h); err != nil {
				s.Log.Debug("the evidence that a client got its answer was not stored", "request_id", h.RequestID(), "error", err)
			}
		}
	}()
}

// watched is a request whose answer is looked at as it passes.
type watched struct {
	method string
	params json.RawMessage
}

// maxWatched bounds what is remembered of requests that nobody answers.
const maxWatched = 4096

func (s *session) watch(m *mcpwire.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.watched) < maxWatched {
		s.watched[mcpwire.IDKey(m.ID)] = watched{m.Method, m.Params}
	}
}
