package mcpguard_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
)

// TestReceivingMeanings: what handlers say about their effect.
func TestReceivingMeanings(t *testing.T) {
	plain := errors.New("no answer from the bank")
	for _, tc := range []struct {
		name    string
		policy  mcpguard.Tool
		err     error
		isError bool // SetError on a result with content of its own
		first   string
		second  string
		runs    int64
	}{
		{name: "an error", err: plain, first: "uncertain", second: "uncertain", runs: 1},
		{name: "not executed", err: onceguard.NotExecuted(plain), second: "", runs: 2},
		{name: "refused", err: onceguard.Refused(plain), second: "", runs: 1},
		{name: "set on a result, not executed", err: onceguard.NotExecuted(plain), isError: true, runs: 2},
		{name: "set on a result, refused", err: onceguard.Refused(plain), isError: true, runs: 1},
		{name: "set on a result", err: plain, isError: true, first: "uncertain", second: "uncertain", runs: 1},
		{name: "the policy says not executed", policy: mcpguard.Tool{IsError: mcpguard.IsErrorNotExecuted}, err: plain, runs: 2},
		{name: "the policy says success", policy: mcpguard.Tool{IsError: mcpguard.IsErrorSuccess}, err: plain, second: "repeat", runs: 1},
		{name: "the handler goes before the policy", policy: mcpguard.Tool{IsError: mcpguard.IsErrorNotExecuted}, err: onceguard.Refused(plain), runs: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.policy.Name = "*"
			policy, err := mcpguard.NewPolicy("shop", tc.policy)
			if err != nil {
				t.Fatal(err)
			}
			w.options.Policy = policy
			w.pay = func(context.Context, *mcp.CallToolRequest, order) (*mcp.CallToolResult, paid, error) {
				w.effects.Add(1)
				if tc.isError {
					r := &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "said by the tool"}}}
					r.SetError(tc.err)
					return r, paid{}, nil
				}
				return nil, paid{}, tc.err
			}
			w.start()
			s := w.connect()
			r := w.call(s, with(pay("A-1", 5), mcp.Meta{"callId": "c"}))
			w.expect(r, tc.first)
			if !r.IsError {
				t.Error("the first answer is no error")
			}
			if tc.first == "" && tc.isError && text(r) != "said by the tool" {
				t.Errorf("the tool's words became %q", text(r))
			}
			key := mcp.Meta{"callId": "c"}
			if tc.second == "repeat" {
				key = nil
			}
			w.expect(w.call(s, with(pay("A-1", 5), key)), tc.second)
			w.took(tc.runs)
		})
	}
}

// TestReceivingProtocolErrors: what handlers answer as JSON-RPC errors.
func TestReceivingProtocolErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		code int64 // that the client gets; 0: a verdict
		runs int64
	}{
		{"invalid params", &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "no such order"}, jsonrpc.CodeInvalidParams, 2},
		{"internal", &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: "down"}, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.pay = func(context.Context, *mcp.CallToolRequest, order) (*mcp.CallToolResult, paid, error) {
				w.effects.Add(1)
				return nil, paid{}, tc.err
			}
			w.start()
			s := w.connect()
			for range 2 {
				r, err := s.CallTool(w.ctx, pay("A-1", 5))
				var wire *jsonrpc.Error
				switch {
				case tc.code == 0 && err == nil:
					w.expect(r, "uncertain")
				case tc.code == 0, !errors.As(err, &wire), wire.Code != tc.code, wire.Message != "no such order":
					t.Errorf("the client got %v, %v", r, err)
				}
			}
			w.took(tc.runs)
		})
	}
}

// TestReceivingPanic: a handler that panics, or ends its goroutine, leaves an
// unknown outcome and a living server.
func TestReceivingPanic(t *testing.T) {
	for name, die := range map[string]func(){"panic": func() { panic("boom") }, "the goroutine ends": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.pay = func(context.Context, *mcp.CallToolRequest, order) (*mcp.CallToolResult, paid, error) {
				w.effects.Add(1)
				die()
				return nil, paid{}, nil
			}
			w.start()
			s := w.connect()
			w.expect(w.call(s, pay("A-1", 5)), "uncertain")
			w.start()
			w.expect(w.call(w.connect(), pay("A-1", 5)), "uncertain")
			w.took(1)
		})
	}
}

// TestReceivingArguments: arguments that the SDK refuses ran nothing, and the
// mended call of the same order runs; the SDK's words from a handler prove nothing.
func TestReceivingArguments(t *testing.T) {
	newShop := func(t *testing.T) *world {
		w := newWorld(t)
		policy, err := mcpguard.NewPolicy("shop", mcpguard.Tool{Name: "pay", Identity: mcpguard.Identity{Key: []string{"/order"}}})
		if err != nil {
			t.Fatal(err)
		}
		w.options.Policy = policy
		return w
	}
	t.Run("refused by the SDK", func(t *testing.T) {
		w := newShop(t).start()
		s := w.connect()
		wrong := pay("A-1", 5)
		wrong.Arguments.(map[string]any)["amount"] = "five"
		if r := w.call(s, wrong); !r.IsError || !strings.HasPrefix(text(r), `validating "arguments"`) {
			t.Errorf("the client got %s", text(r))
		}
		w.expect(w.call(s, pay("A-1", 5)), "")
		w.took(1)
	})
	t.Run("in a handler's words", func(t *testing.T) {
		w := newShop(t)
		w.pay = func(context.Context, *mcp.CallToolRequest, order) (*mcp.CallToolResult, paid, error) {
			w.effects.Add(1)
			return nil, paid{}, errors.New(`validating "arguments": said another server`)
		}
		w.start()
		s := w.connect()
		for range 2 {
			w.expect(w.call(s, pay("A-1", 5)), "uncertain")
		}
		w.took(1)
	})
}

// TestReceivingRawHandlers: a handler without the SDK's typed form says what its
// error means in the same words, and the client gets the error.
func TestReceivingRawHandlers(t *testing.T) {
	for _, tc := range []struct {
		name          string
		mark          func(error) error
		first, second string // verdicts; empty for the handler's own error
		runs          int64
	}{
		{"not executed", onceguard.NotExecuted, "", "", 2},
		{"refused", onceguard.Refused, "", "refused", 1},
		{"nothing said", func(err error) error { return err }, "uncertain", "uncertain", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t).start()
			w.server.AddTool(&mcp.Tool{Name: "low", InputSchema: map[string]any{"type": "object"}}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				w.effects.Add(1)
				return nil, tc.mark(errors.New("no funds"))
			})
			s := w.connect()
			low := &mcp.CallToolParams{Name: "low", Meta: mcp.Meta{"callId": "c"}}
			r, err := s.CallTool(w.ctx, low)
			switch {
			case tc.first == "" && (err == nil || !strings.Contains(err.Error(), "no funds")):
				t.Errorf("the client got %v, %v", r, err)
			case tc.first != "" && err != nil:
				t.Error(err)
			case tc.first != "":
				w.expect(r, tc.first)
			}
			if again, err := s.CallTool(w.ctx, low); err == nil {
				w.expect(again, tc.second)
			} else if tc.second != "" {
				t.Error(err)
			}
			w.took(tc.runs)
		})
	}
}
