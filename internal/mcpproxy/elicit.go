package mcpproxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// elicitTime is how long the host's user may think.
const elicitTime = 5 * time.Minute

// sessionKey carries the session of a call to Elicit.
type sessionKey struct{}

// errCannotAsk is returned where the host's user cannot be asked.
var errCannotAsk = errors.New("the client cannot ask its user")

// Elicit asks the user of the host that made the call (MCP 2025-06-18 and
// 2025-11-25, elicitation), for mcpcall.Options. It is an error where the client
// has not declared that it can, and over HTTP. No answer within five minutes, or
// any answer but a plain yes, is a no.
func Elicit(ctx context.Context, _ mcpcall.Call, q mcpcall.Question) (bool, error) {
	s, ok := ctx.Value(sessionKey{}).(*session)
	if !ok {
		return false, errCannotAsk
	}
	return s.elicit(ctx, q)
}

func (s *session) elicit(ctx context.Context, q mcpcall.Question) (bool, error) {
	id := `"onceguard-` + rand.Text() + `"` // in a space that no server counts in
	answer := make(chan mcpwire.Message, 1)
	s.mu.Lock()
	able := s.elicits && !s.silent
	if able {
		s.own[mcpwire.IDKey([]byte(id))] = answer
	}
	s.mu.Unlock()
	if !able {
		return false, errCannotAsk
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.own, mcpwire.IDKey([]byte(id)))
	}()
	message := mcpwire.Quote(q.Message)
	line := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"method":"elicitation/create","params":{"message":%s,"requestedSchema":{"type":"object","properties":{"repeat":{"type":"boolean","title":"Do it once more","default":false}},"required":["repeat"]}}}`+"\n", id, message)
	if _, err := s.toClient.write(line); err != nil {
		return false, err
	}
	limit := time.NewTimer(elicitTime)
	defer limit.Stop()
	select {
	case m := <-answer:
		return consents(&m), nil
	case <-limit.C:
		return false, errors.New("the user did not answer")
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// consents reports a plain yes.
func consents(m *mcpwire.Message) bool {
	action, _ := mcpwire.Sole(m.Result, "action")
	content, _ := mcpwire.Sole(m.Result, "content")
	repeat, _ := mcpwire.Sole(content, "repeat")
	text, _ := mcpwire.Text(action)
	return text == "accept" && string(repeat) == "true"
}

// takes hands an answer to a question of the proxy's own to who asked. It reports
// false for all others, which are the server's.
func (s *session) takes(m *mcpwire.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := s.own[mcpwire.IDKey(m.ID)]
	if to == nil {
		return false
	}
	select {
	case to <- *m:
	default:
	}
	return true
}

// greets learns from a client's handshake whether it can ask its user.
func (s *session) greets(m *mcpwire.Message) {
	capabilities, _ := mcpwire.Sole(m.Params, "capabilities")
	_, can := mcpwire.Sole(capabilities, "elicitation")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elicits = can
}
