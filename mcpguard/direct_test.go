package mcpguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
)

// directly gives a call to the middleware of a host, with next in place of the
// rest of the client.
func (w *world) directly(ctx context.Context, p *mcp.CallToolParams, next func(p *mcp.CallToolParams) (*mcp.CallToolResult, error)) *mcp.CallToolResult {
	w.Helper()
	r, err := w.host()(func(_ context.Context, _ string, r mcp.Request) (mcp.Result, error) {
		out, err := next(r.GetParams().(*mcp.CallToolParams))
		if err != nil {
			return nil, err
		}
		return out, nil
	})(ctx, "tools/call", &mcp.ClientRequest[*mcp.CallToolParams]{Params: p})
	if err != nil {
		w.Fatal(err)
	}
	return r.(*mcp.CallToolResult)
}

// TestSendingNothing: an error before the SDK encoded anything is no effect.
func TestSendingNothing(t *testing.T) {
	w := newWorld(t)
	w.expect(w.directly(w.ctx, pay("A-1", 5), func(*mcp.CallToolParams) (*mcp.CallToolResult, error) {
		return nil, errors.New("a middleware further in refuses")
	}), "not-run")
	w.expect(w.directly(w.ctx, pay("A-1", 5), func(p *mcp.CallToolParams) (*mcp.CallToolResult, error) {
		if _, err := json.Marshal(p); err != nil {
			return nil, err
		}
		return nil, errors.New("the pipe broke")
	}), "uncertain")
}

// TestSendingUnknownResult: a result that the SDK cannot read, such as a task's
// handle, is no receipt.
func TestSendingUnknownResult(t *testing.T) {
	w := newWorld(t)
	w.expect(w.directly(w.ctx, pay("A-1", 5), func(*mcp.CallToolParams) (*mcp.CallToolResult, error) {
		r := new(mcp.CallToolResult)
		return r, json.Unmarshal([]byte(`{"resultType":"task","taskId":"t-1","content":[]}`), r)
	}), "uncertain")
}

// TestSendingParams: the caller's params stay as they are, and so do values in
// _meta when the policy puts a key there.
func TestSendingParams(t *testing.T) {
	const exact = int64(9007199254740993)
	w := newWorld(t)
	policy, err := mcpguard.NewPolicy("shop", mcpguard.Tool{Name: "pay", Inject: mcpguard.Inject{Meta: "example.com/key"}})
	if err != nil {
		t.Fatal(err)
	}
	w.options.Policy = policy
	p := with(pay("A-1", 5), mcp.Meta{"n": exact, "example.com/key": "mine"})
	r := w.directly(mcpguard.WithKey(w.ctx, onceguard.KeyOf("job", 1)), p, func(sent *mcp.CallToolParams) (*mcp.CallToolResult, error) {
		if sent.Meta["n"] != exact || sent.Meta["example.com/key"] == "mine" || sent.Meta["io.github.onceguard/key"] == nil {
			t.Errorf("_meta is %v", sent.Meta)
		}
		return &mcp.CallToolResult{Content: []mcp.Content{}}, nil
	})
	w.expect(r, "")
	if len(p.Meta) != 2 || p.Meta["example.com/key"] != "mine" {
		t.Errorf("the caller's _meta became %v", p.Meta)
	}
}

// TestSendingHeader: a host cannot send the key in a header, and sends nothing.
func TestSendingHeader(t *testing.T) {
	w := newWorld(t)
	policy, err := mcpguard.NewPolicy("shop", mcpguard.Tool{Name: "pay", Inject: mcpguard.Inject{Header: "Idempotency-Key"}})
	if err != nil {
		t.Fatal(err)
	}
	w.options.Policy = policy
	w.expect(w.directly(w.ctx, pay("A-1", 5), func(*mcp.CallToolParams) (*mcp.CallToolResult, error) {
		t.Error("the call was sent")
		return nil, errors.New("sent")
	}), "not-run")
}

// TestSendingBadKey: a key that is none sends nothing.
func TestSendingBadKey(t *testing.T) {
	w := newWorld(t).plain()
	if _, err := w.connect(w.host()).CallTool(mcpguard.WithKey(w.ctx, onceguard.KeyOf("job")), pay("A-1", 5)); err == nil {
		t.Error("a key without a value was taken")
	}
	w.took(0)
}

// TestReceivingDefinitions: what the guard adds nothing to stays the server's own.
func TestReceivingDefinitions(t *testing.T) {
	w := newWorld(t).start()
	own := map[string]bool{}
	w.server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			r, err := next(ctx, method, req)
			if list, ok := r.(*mcp.ListToolsResult); ok {
				for _, tool := range list.Tools {
					_, own[tool.Name] = tool.InputSchema.(*jsonschema.Schema)
				}
			}
			return r, err
		}
	})
	if _, err := w.connect().ListTools(w.ctx, nil); err != nil {
		t.Fatal(err)
	}
	if !own["balance"] || own["pay"] {
		t.Errorf("own definitions: %v", own)
	}
}
