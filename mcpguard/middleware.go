package mcpguard

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard/internal/mcpcall"
)

// Methods that are looked at.
const (
	methodCall = "tools/call"
	methodList = "tools/list"
)

// codeNoCaller is the JSON-RPC error of a call whose caller is not known; -32000
// to -32019 are an implementation's own.
const codeNoCaller = -32001

// storeTime bounds one piece of evidence on its way to the store.
const storeTime = 10 * time.Second

// Wrap is the middleware: an mcp.Middleware. Everything but tools/call and
// tools/list passes untouched.
func (m *Middleware) Wrap(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		switch method {
		case methodCall:
			return m.call(ctx, req, next)
		case methodList:
			result, err := next(ctx, method, req)
			if list, ok := result.(*mcp.ListToolsResult); ok && err == nil {
				return m.listed(ctx, list)
			}
			return result, err
		}
		return next(ctx, method, req)
	}
}

// call brings one tools/call to the gate.
func (m *Middleware) call(ctx context.Context, req mcp.Request, next mcp.MethodHandler) (mcp.Result, error) {
	var to forwarder
	var err error
	switch r := req.(type) {
	case *mcp.CallToolRequest:
		to, err = m.receive(ctx, r, next)
	default:
		to, err = m.send(ctx, r, next)
	}
	if err != nil {
		return nil, err
	}
	scope, err := m.scope(ctx, req)
	if err != nil {
		return nil, &jsonrpc.Error{Code: codeNoCaller, Message: "onceguard: it is not known who calls, so nothing was executed: " + err.Error()}
	}
	c := mcpcall.Call{Params: to.params(), Header: to.header(), Principal: scope}
	var reply mcpcall.Reply
	switch m.gate.Decide(to.tool()) {
	case mcpcall.Pass:
		return next(ctx, methodCall, req)
	case mcpcall.Own:
		reply = m.gate.Helper(ctx, scope, c.Params)
	default:
		reply = m.gate.Do(context.WithValue(ctx, requestKey{}, req), c, to.forward)
	}
	result, err := to.answer(ctx, reply)
	if err == nil {
		m.told(ctx, reply.Handle)
	}
	return result, err
}

// forwarder is a call on its way: the part that differs between server and host.
type forwarder interface {
	tool() string
	params() json.RawMessage
	header() http.Header
	forward(ctx context.Context, params json.RawMessage, header http.Header) (mcpcall.Reply, error)
	answer(ctx context.Context, reply mcpcall.Reply) (mcp.Result, error)
}

// requestKey carries the request of a call to ask.
type requestKey struct{}

// scope is the principal whose receipts the call may see; empty for the guard's
// own scope.
func (m *Middleware) scope(ctx context.Context, req mcp.Request) (string, error) {
	if m.opts.Scope == nil {
		return "", nil
	}
	scope, err := m.opts.Scope(ctx, req)
	switch {
	case err != nil:
		return "", err
	case scope == "":
		return "", fmt.Errorf("the scope is empty")
	case scope == singleTenant:
		return "", nil
	}
	return scope, nil
}

// told notes that an answer reached its caller. A host has it when Wrap returns.
// Of a server's answer the SDK ends the request's context once it has written it;
// until then the answer counts as delivered in this process, since a client may
// be faster with its next call than the store.
func (m *Middleware) told(ctx context.Context, h mcpcall.Handle) {
	if h.RequestID().IsZero() || ctx.Err() != nil {
		return
	}
	store := m.gate.Delivering(h)
	m.tells.Enter()
	note := func() {
		defer m.tells.Leave()
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		defer cancel()
		if err := store(sctx); err != nil {
			m.opts.Log.DebugContext(sctx, "onceguard: the evidence that an answer was delivered was not stored", "request_id", h.RequestID().String(), "error", err)
		}
	}
	if m.side == sending || ctx.Done() == nil {
		note()
		return
	}
	context.AfterFunc(ctx, note)
}
