package mcpguard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

// received is a call on its way to a handler of this server.
type received struct {
	m       *Middleware
	request *mcp.CallToolRequest
	next    mcp.MethodHandler
	raw     json.RawMessage

	// What the handler answered, and the bytes that this stands for. They are
	// written before the gate replies with those bytes.
	result mcp.Result
	err    error
	bytes  json.RawMessage
}

func (m *Middleware) receive(ctx context.Context, r *mcp.CallToolRequest, next mcp.MethodHandler) (forwarder, error) {
	m.learn(ctx, r, next)
	raw, err := json.Marshal(r.Params)
	if err != nil {
		return nil, err
	}
	return &received{m: m, request: r, next: next, raw: raw}, nil
}

func (c *received) tool() string            { return c.request.Params.Name }
func (c *received) params() json.RawMessage { return c.raw }

func (c *received) header() http.Header {
	if c.request.Extra == nil {
		return nil
	}
	return c.request.Extra.Header
}

// forward calls the handler.
func (c *received) forward(ctx context.Context, raw json.RawMessage, header http.Header) (mcpcall.Reply, error) {
	r, err := c.outgoing(raw, header)
	if err != nil {
		return mcpcall.Reply{}, onceguard.NotExecuted(err)
	}
	result, err := c.next(ctx, methodCall, r)
	if err != nil {
		c.err, c.bytes = err, rawError(err)
		return mcpcall.Reply{Error: c.bytes}, marked(err)
	}
	out, ok := result.(*mcp.CallToolResult)
	if !ok || out == nil {
		return mcpcall.Reply{}, errors.New("the handler answered with no result of a tool")
	}
	// The receipt is what goes out: later changes to the handler's value are none.
	if c.bytes, err = json.Marshal(out); err != nil {
		return mcpcall.Reply{}, err
	}
	c.result = result
	if said := out.GetError(); out.IsError && said != nil {
		if c.m.refused(r.Params.Name, r.Params.Arguments, said) {
			said = onceguard.NotExecuted(said)
		}
		return mcpcall.Reply{Result: c.bytes}, marked(said)
	}
	return mcpcall.Reply{Result: c.bytes}, nil
}

// declaration is the type of errors made with NotExecuted and Refused.
var declaration = reflect.TypeOf(onceguard.NotExecuted(errors.New("")))

// marked is err if the handler said what it means, else nil: then the answer
// means what the policy says. What exactly it said is the guard's to read.
func marked(err error) error {
	if errors.As(err, reflect.New(declaration).Interface()) {
		return err
	}
	return nil
}

// outgoing is the request for the handler: the one that came, unless the guard
// changed something in it.
func (c *received) outgoing(raw json.RawMessage, header http.Header) (*mcp.CallToolRequest, error) {
	r := *c.request
	if !bytes.Equal(raw, c.raw) {
		var now params
		if err := json.Unmarshal(raw, &now); err != nil {
			return nil, err
		}
		p := *c.request.Params
		var err error
		if p.Meta, err = now.meta(p.Meta); err != nil {
			return nil, err
		}
		p.Arguments = now.Arguments
		r.Params = &p
	}
	if header != nil {
		extra := mcp.RequestExtra{}
		if r.Extra != nil {
			extra = *r.Extra
		}
		extra.Header = header
		r.Extra = &extra
	}
	return &r, nil
}

// answer gives the SDK what the gate replied.
func (c *received) answer(_ context.Context, reply mcpcall.Reply) (mcp.Result, error) {
	switch {
	case reply.Verdict == "" && reply.Error != nil && c.err != nil && bytes.Equal(reply.Error, c.bytes):
		return nil, c.err
	case reply.Error != nil:
		return nil, wireError(reply.Error)
	case reply.Verdict == "" && c.result != nil && bytes.Equal(reply.Result, c.bytes):
		return c.result, nil
	}
	return serverResult(reply.Result)
}

// ask asks a person whether a call shall happen once more.
func (m *Middleware) ask(ctx context.Context, _ mcpcall.Call, q mcpcall.Question) (bool, error) {
	if m.opts.Ask != nil {
		return m.opts.Ask(ctx, Question{Tool: q.Tool, RequestID: q.RequestID, Message: q.Message})
	}
	r, ok := ctx.Value(requestKey{}).(*mcp.CallToolRequest)
	if !ok || r.Session == nil {
		return false, errors.New("nobody can be asked")
	}
	answer, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: q.Message, RequestedSchema: map[string]any{
		"type": "object", "required": []string{"repeat"},
		"properties": map[string]any{"repeat": map[string]any{"type": "boolean", "title": "Do it once more", "default": false}},
	}})
	if err != nil {
		return false, err
	}
	yes, _ := answer.Content["repeat"].(bool)
	return answer.Action == "accept" && yes, nil
}
