package mcpguard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

type keyContext struct{}

// WithKey gives the calls of tools made with the context an explicit key: calls
// of one tool with the same key are one intention, and with other arguments a
// conflict. The key must come from what the host decided (a job, an order, a step
// of a plan), never from a model, and be the same when the host tries again. Each
// tool has keys of its own. It is sent to the server in _meta, as
// io.github.onceguard/key, where a guard of the server's finds it.
func WithKey(ctx context.Context, key onceguard.Key) context.Context {
	return context.WithValue(ctx, keyContext{}, key)
}

// maxKeyText keeps a key, quoted inside another, below the bound of keys.
const maxKeyText = 300

// keyText is the key as _meta carries it.
func keyText(k onceguard.Key) string {
	text := k.Encoded()
	if len(text) <= maxKeyText {
		return text
	}
	d := sha256.Sum256([]byte(text))
	return "sha256-" + hex.EncodeToString(d[:])
}

// sent is a call on its way to a server.
type sent struct {
	request mcp.Request
	given   *mcp.CallToolParams
	next    mcp.MethodHandler
	raw     json.RawMessage

	result *mcp.CallToolResult
	err    error
	bytes  json.RawMessage
}

func (m *Middleware) send(ctx context.Context, req mcp.Request, next mcp.MethodHandler) (forwarder, error) {
	p, ok := req.GetParams().(*mcp.CallToolParams)
	if !ok || p == nil {
		return nil, fmt.Errorf("mcpguard: the params of tools/call are %T; nothing was sent", req.GetParams())
	}
	if key, ok := ctx.Value(keyContext{}).(onceguard.Key); ok {
		if err := key.Err(); err != nil {
			return nil, fmt.Errorf("mcpguard: the key of the call: %w; nothing was sent", err)
		}
		own := *p // the params are the caller's
		own.Meta = maps.Clone(own.Meta)
		if own.Meta == nil {
			own.Meta = mcp.Meta{}
		}
		own.Meta[mcpcall.MetaKey] = keyText(key)
		p = &own
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("mcpguard: the call cannot be written: %w; nothing was sent", err)
	}
	return &sent{request: req, given: p, next: next, raw: raw}, nil
}

func (c *sent) tool() string            { return c.given.Name }
func (c *sent) params() json.RawMessage { return c.raw }
func (c *sent) header() http.Header     { return nil }

// written are a call's arguments. The SDK encodes them for every message that it
// sends, so that it can be known that none was, or that there was one alone: in
// a later round of questions and answers a refusal is none of the whole call.
type written struct {
	raw   json.RawMessage
	times *atomic.Int64
}

// MarshalJSON implements json.Marshaler.
func (w written) MarshalJSON() ([]byte, error) {
	w.times.Add(1)
	return w.raw, nil
}

// forward sends the call, and whatever questions and answers follow.
func (c *sent) forward(ctx context.Context, raw json.RawMessage, header http.Header) (mcpcall.Reply, error) {
	if header != nil {
		return mcpcall.Reply{}, onceguard.NotExecuted(errors.New("the policy puts the downstream key into a header, which a host's middleware cannot send; use inject: {argument: …} or {meta: …}"))
	}
	var now params
	if err := json.Unmarshal(raw, &now); err != nil {
		return mcpcall.Reply{}, onceguard.NotExecuted(err)
	}
	p := *c.given
	var err error
	if p.Meta, err = now.meta(p.Meta); err != nil {
		return mcpcall.Reply{}, onceguard.NotExecuted(err)
	}
	times := new(atomic.Int64)
	p.Arguments = written{now.Arguments, times}
	result, err := c.next(ctx, methodCall, &mcp.ClientRequest[*mcp.CallToolParams]{Session: session(c.request), Params: &p})
	if err != nil {
		return c.failed(err, times.Load())
	}
	out, ok := result.(*mcp.CallToolResult)
	if !ok || out == nil {
		return mcpcall.Reply{}, errors.New("the client answered with no result of a tool")
	}
	if c.bytes, err = json.Marshal(out); err != nil {
		return mcpcall.Reply{}, err
	}
	var kind struct {
		Type string `json:"resultType"`
	}
	if json.Unmarshal(c.bytes, &kind) != nil || kind.Type != "" && kind.Type != "complete" && kind.Type != "input_required" {
		// Such as a task, whose handle the SDK does not read.
		return mcpcall.Reply{}, fmt.Errorf("the server answered with a result of type %.40q, which the SDK does not know", kind.Type)
	}
	c.result = out
	return mcpcall.Reply{Result: c.bytes}, nil
}

// failed says what an error of the client means.
func (c *sent) failed(err error, times int64) (mcpcall.Reply, error) {
	if times == 0 {
		return mcpcall.Reply{}, onceguard.NotExecuted(err)
	}
	// With one message sent, an error is the server's answer to it only if it is
	// the SDK's for that message: one from the host's own answering of a question
	// comes after the server acted, whatever it wraps.
	if times > 1 || !strings.HasPrefix(err.Error(), sdkCalling) {
		// In text alone: what it wraps must not speak for the call.
		return mcpcall.Reply{}, fmt.Errorf("the exchange failed after %d messages: %v", times, err)
	}
	if dial := onceguard.ClassifyDial(err); marked(dial) != nil { // before the SDK's own code for it
		return mcpcall.Reply{}, dial
	}
	var wire *jsonrpc.Error
	if errors.As(err, &wire) {
		c.err, c.bytes = err, rawError(err)
		return mcpcall.Reply{Error: c.bytes}, nil
	}
	return mcpcall.Reply{}, err
}

// sdkCalling begins the SDK's error of one message.
const sdkCalling = `calling "` + methodCall + `": `

func session(r mcp.Request) *mcp.ClientSession {
	s, _ := r.GetSession().(*mcp.ClientSession)
	return s
}

// answer gives the host what the gate replied.
func (c *sent) answer(ctx context.Context, reply mcpcall.Reply) (mcp.Result, error) {
	switch {
	case reply.Verdict == mcpcall.InFlight && ctx.Err() != nil:
		return nil, fmt.Errorf("onceguard: the call of %s goes on, and may have its effect; the same call later gets its result: %w", c.given.Name, context.Cause(ctx))
	case reply.Verdict == "" && reply.Error != nil && c.err != nil && bytes.Equal(reply.Error, c.bytes):
		return nil, c.err
	case reply.Error != nil:
		return nil, wireError(reply.Error)
	case reply.Verdict == "" && c.result != nil && bytes.Equal(reply.Result, c.bytes):
		return c.result, nil
	}
	return decodeResult(reply.Result)
}
