package mcpproxy

import (
	"bytes"
	"errors"
	"slices"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// Methods that the proxy looks at.
const (
	methodCall      = "tools/call"
	methodList      = "tools/list"
	methodCancelled = "notifications/cancelled"
)

// codeOurs is the code of errors that are the proxy's own; -32000 to -32019 are
// an implementation's to use.
const codeOurs = -32000

// What clients are told when a call is not even looked at.
const (
	textUnreadable = "onceguard: this is not one JSON-RPC message on one line, and it may hold a tools/call; nothing was executed"
	textAmbiguous  = "onceguard: the message has a member twice, so that it could be read in two ways; nothing was executed"
	textBatch      = "onceguard: the batch holds a call of a guarded tool; send guarded calls on their own. Nothing of the batch was executed"
	textNoName     = "onceguard: params.name does not say which tool is called; nothing was executed"
	textTooLarge   = "onceguard: a call of a guarded tool may have 16 MiB; nothing was executed"
	textID         = "onceguard: the id of a call must be a number or a string; nothing was executed"
	textIDInUse    = "onceguard: the id belongs to a call that is still running; nothing was executed"
	textBusy       = "onceguard: too many calls of guarded tools are running; nothing was executed, call again later"
	textDraining   = "onceguard: the proxy is stopping; nothing was executed, call again"
	textGone       = "onceguard: the client has closed its end and cannot answer"
)

// toolOf reads which tool a call names. It reports false where there is none, or
// where two readers might find two.
func toolOf(params []byte) (string, bool) {
	raw, ok := mcpwire.Sole(params, "name")
	if !ok {
		return "", false
	}
	return mcpwire.Text(raw)
}

// readCall reads which tool a message calls that may be a call and is no batch.
// The refusal is a response for one that cannot be judged.
func readCall(m *mcpwire.Message) (tool string, refusal []byte) {
	refuse := func(code int, text string) (string, []byte) {
		return "", mcpwire.Failure(m.ID, mcpwire.ErrorObject(code, text))
	}
	switch {
	case m.Ambiguous:
		return refuse(mcpwire.CodeInvalidRequest, textAmbiguous)
	case m.Kind != mcpwire.Request && m.Kind != mcpwire.Notification:
		return refuse(mcpwire.CodeParse, textUnreadable)
	case m.Kind == mcpwire.Request && !plainID(m.ID):
		return refuse(mcpwire.CodeInvalidRequest, textID)
	}
	tool, named := toolOf(m.Params)
	if !named {
		return refuse(mcpwire.CodeInvalidParams, textNoName)
	}
	return tool, nil
}

// plainID reports ids that may be answered: a number or a string.
func plainID(id []byte) bool {
	return id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9'
}

// callsGuarded reports whether a batch calls a tool that does not pass.
func callsGuarded(gate Gate, m *mcpwire.Message) bool {
	for i := range m.Members {
		member := &m.Members[i]
		if !member.Calls(methodCall) {
			continue
		}
		if tool, refusal := readCall(member); refusal != nil || gate.Decide(tool) != mcpcall.Pass {
			return true
		}
	}
	return false
}

// refusals answer every request of a batch that is not passed on, in an array;
// nil where there is none.
func refusals(m *mcpwire.Message, text string) []byte {
	failed := mcpwire.ErrorObject(mcpwire.CodeInvalidRequest, text)
	var all [][]byte
	for i := range m.Members {
		if member := &m.Members[i]; member.ID != nil && member.Kind != mcpwire.Response {
			all = append(all, mcpwire.Failure(member.ID, failed))
		}
	}
	if all == nil {
		return nil
	}
	return slices.Concat([]byte("["), bytes.Join(all, []byte(",")), []byte("]"))
}

// passesLarge judges a message by its beginning.
func passesLarge(gate Gate, g *mcpwire.Glance) bool {
	method, named := mcpwire.Text(g.Method)
	switch {
	case g.Array:
		return false
	case g.Answer, named && method != methodCall:
		return true
	case !named:
		return false
	}
	tool, named := mcpwire.Text(g.Tool)
	return named && gate.Decide(tool) == mcpcall.Pass
}

// frame is the response to an id that tells a reply. The answer of the server to
// this very call is passed on as it came.
func frame(id []byte, r mcpcall.Reply, came *mcpwire.Message) []byte {
	switch {
	case r.Result != nil && came != nil && bytes.Equal(came.Result, r.Result):
		return came.Raw
	case r.Error != nil && came != nil && bytes.Equal(came.Error, r.Error):
		return came.Raw
	case r.Result != nil:
		return mcpwire.Result(id, mcpwire.OneLine(r.Result))
	case r.Error != nil:
		return mcpwire.Failure(id, mcpwire.OneLine(r.Error))
	}
	return mcpwire.Failure(id, mcpwire.ErrorObject(mcpwire.CodeInternal, "onceguard: there is no answer to this call; whether it was executed is not known"))
}

// cancelledID is the raw id of the request that a cancellation names, or nil.
func cancelledID(m *mcpwire.Message) []byte {
	id, _ := mcpwire.Sole(m.Params, "requestId")
	return id
}

// settlesTask reports the methods whose results tell how a task stands.
func settlesTask(method string) bool {
	switch method {
	case "tasks/get", "tasks/result", "tasks/update", "tasks/cancel":
		return true
	}
	return false
}

var (
	// errCancelled is the cause when the client gave a call up.
	errCancelled = errors.New("the client cancelled the call")
	errGone      = errors.New("the server ended before it answered")
)
