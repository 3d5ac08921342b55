//go:build linux

package mcptest_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// call is a tools/call.
type call struct {
	tool  string
	args  string // JSON
	host  string // the host's own id of the call, as Claude Code sends it; "" for none
	turn  string // the turn, as VS Code sends it; "" for none
	extra string // more members of params, with a comma before
	meta  string // more members of _meta, with a comma before
}

func pay(order string, amount int, host string) call {
	return call{tool: "pay", args: fmt.Sprintf(`{"order":%q,"amount":%d,"currency":"EUR"}`, order, amount), host: host}
}

// params is the call's params in the world's revision.
func (w *world) params(c call) string {
	meta := `"x":1`
	if w.transport == httpT {
		meta += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcptest","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}`
	}
	if c.host != "" {
		meta += `,"claudecode/toolUseId":` + strconv.Quote(c.host)
	}
	if c.turn != "" {
		meta += `,"vscode.requestId":` + strconv.Quote(c.turn)
	}
	return fmt.Sprintf(`{"name":%q,"arguments":%s,"_meta":{%s%s}%s}`, c.tool, c.args, meta, c.meta, c.extra)
}

// send sends a call under a new JSON-RPC id, as the specification demands of
// every retry, and returns the id.
func (w *world) send(c call) string {
	w.Helper()
	w.ids++
	if c.tool == "pay" {
		w.pays++
	}
	id := strconv.Itoa(1000 + w.ids)
	w.client.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":%s}`, id, w.params(c)))
	return id
}

// call sends a call and waits for what comes of it.
func (w *world) call(c call) reply {
	w.Helper()
	return w.answer(w.send(c))
}

// ask sends any other request.
func (w *world) ask(method, params string) reply {
	w.Helper()
	w.ids++
	id := strconv.Itoa(1000 + w.ids)
	if w.transport == httpT {
		params = strings.TrimSuffix(params, "}")
		if params != "{" {
			params += ","
		}
		params += `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}`
	}
	w.client.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, id, method, params))
	return w.answer(id)
}

// leave gives a call up as a client does: over stdio by a notification, over
// HTTP by closing the connection.
func (w *world) leave(id string) {
	w.Helper()
	if w.transport == httpT {
		w.client.send(fmt.Sprintf(`{"client":%q,"id":%s}`, doHangUp, id))
		return
	}
	w.client.send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%s,"reason":"timeout"}}`, id))
}

// reply is what the client got for a request.
type reply struct {
	raw    string // the frame
	lost   bool   // there is none
	result string // raw
	text   string // the first text of the result, or the error's message
	failed bool   // isError, or an error
	code   int    // of an error
}

// told is the first line of what a model reads.
func (r reply) told() string {
	first, _, _ := strings.Cut(r.text, "\n")
	switch {
	case r.lost:
		return "no answer"
	case r.code != 0:
		return fmt.Sprintf("error %d: %s", r.code, first)
	}
	return first
}

// answer waits for the response to a request, or for word that there is none.
func (w *world) answer(id string) reply {
	w.Helper()
	var r reply
	w.client.until("an answer to "+id, func() bool {
		var ok bool
		r, ok = w.peek(id)
		return ok || w.client.over()
	})
	if r.raw == "" {
		r.lost = true
	}
	return r
}

// peek returns the response to a request if it is there.
func (w *world) peek(id string) (reply, bool) {
	for _, line := range w.client.lines() {
		var f struct {
			Client string
			ID     json.RawMessage
			Method string
			Result json.RawMessage
			Error  *struct {
				Code    int
				Message string
			}
		}
		if json.Unmarshal(line, &f) != nil || string(f.ID) != id || f.Method != "" || f.Client == saysStarted {
			continue
		}
		if f.Client == saysNoAnswer {
			return reply{raw: string(line), lost: true}, true
		}
		r := reply{raw: string(line), result: string(f.Result)}
		if f.Error != nil {
			r.code, r.text, r.failed = f.Error.Code, f.Error.Message, true
			return r, true
		}
		var result struct {
			IsError bool
			Content []struct{ Text string }
		}
		_ = json.Unmarshal(f.Result, &result) // other results have other shapes
		r.failed = result.IsError
		if len(result.Content) > 0 {
			r.text = result.Content[0].Text
		}
		return r, true
	}
	return reply{}, false
}

// find decodes the lines of the client one after the other until one is right.
func (w *world) find(into *clientLine, right func() bool) bool {
	for _, line := range w.client.lines() {
		*into = clientLine{}
		if json.Unmarshal(line, into) == nil && right() {
			return true
		}
	}
	return false
}
