package mcpguard_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard/mcpguard"
)

// TestReceivingExchange: a question of the server's and its answer, with clients
// that repeat the call themselves and with older ones that the SDK asks.
func TestReceivingExchange(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			w := newWorld(t)
			var asked atomic.Int64
			w.client = &mcp.ClientOptions{ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				asked.Add(1)
				return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"ok": true}}, nil
			}}
			w.pay = func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
				if r.Params.InputResponses == nil {
					return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"sure": &mcp.ElicitParams{Message: "sure?", RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"ok": map[string]any{"type": "boolean"}}}}}, RequestState: "s"}, paid{}, nil
				}
				return w.act(ctx, r, in)
			}
			w.start()
			s := tr.connect(w)
			for range 2 {
				w.expect(w.call(s, with(pay("A-1", 5), mcp.Meta{"callId": "c"})), "")
			}
			w.took(1)
			if asked.Load() != 1 {
				t.Errorf("the user was asked %d times, want once", asked.Load())
			}
		})
	}
}

// TestBusy: a server that is busy asks for nothing and for the same call again,
// which the SDK's client makes. Nothing ran before.
func TestBusy(t *testing.T) {
	for _, side := range []string{"receiving", "sending"} {
		t.Run(side, func(t *testing.T) {
			w := newWorld(t)
			var calls atomic.Int64
			w.pay = func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
				if calls.Add(1) < 3 {
					return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{}}, paid{}, nil
				}
				return w.act(ctx, r, in)
			}
			var s *mcp.ClientSession
			if side == "receiving" {
				s = w.start().connect()
			} else {
				s = w.plain().connect(w.host())
			}
			for range 2 {
				w.expect(w.call(s, with(pay("A-1", 5), mcp.Meta{"callId": "c"})), "")
			}
			w.took(1)
			if n := calls.Load(); n != 3 {
				t.Errorf("%d calls of the tool, want 3", n)
			}
		})
	}
}

// TestReceivingMoney: only the host's user allows a repeat.
func TestReceivingMoney(t *testing.T) {
	policy, err := mcpguard.NewPolicy("shop", mcpguard.Tool{Name: "pay", Repeat: mcpguard.RepeatMoney})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		client *mcp.ClientOptions
		ask    func(context.Context, mcpguard.Question) (bool, error)
		second string
		runs   int64
	}{
		{name: "nobody can be asked", second: "repeat", runs: 1},
		{name: "the server's own way says yes", ask: func(_ context.Context, q mcpguard.Question) (bool, error) { return q.Tool == "pay", nil }, runs: 2},
		{name: "the server's own way says no", ask: func(context.Context, mcpguard.Question) (bool, error) { return false, nil }, second: "repeat", runs: 1},
		{name: "the user says yes", client: saying("accept", true), runs: 2},
		{name: "the user accepts and does not say yes", client: saying("accept", false), second: "repeat", runs: 1},
		{name: "the user declines", client: saying("decline", true), second: "repeat", runs: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.options.Policy, w.options.Ask, w.client = policy, tc.ask, tc.client
			w.start()
			s := w.connectHTTP(false) // a revision in which servers ask clients
			w.call(s, pay("A-1", 5))
			w.expect(w.call(s, pay("A-1", 5)), tc.second)
			w.took(tc.runs)
		})
	}
}

// saying is a client whose user answers so.
func saying(action string, repeat bool) *mcp.ClientOptions {
	return &mcp.ClientOptions{ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
		return &mcp.ElicitResult{Action: action, Content: map[string]any{"repeat": repeat}}, nil
	}}
}

// TestReceivingInject: the handler finds the downstream key where the policy puts
// it, and the model's own value does not count.
func TestReceivingInject(t *testing.T) {
	for name, in := range map[string]mcpguard.Inject{"meta": {Meta: "example.com/key"}, "argument": {Argument: "/order"}, "header": {Header: "X-Key", Length: 24}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			policy, err := mcpguard.NewPolicy("shop", mcpguard.Tool{Name: "pay", Inject: in})
			if err != nil {
				t.Fatal(err)
			}
			w.options.Policy = policy
			var got string
			w.pay = func(ctx context.Context, r *mcp.CallToolRequest, o order) (*mcp.CallToolResult, paid, error) {
				switch name {
				case "meta":
					got, _ = r.Params.Meta["example.com/key"].(string)
				case "argument":
					got = o.Order
				default:
					got = r.Extra.Header.Get("X-Key")
				}
				if token := r.Params.GetProgressToken(); token != "t" {
					t.Errorf("the progress token became %v", token)
				}
				return w.act(ctx, r, o)
			}
			w.start()
			p := with(pay("mine", 5), mcp.Meta{"example.com/key": "mine"})
			p.SetProgressToken("t")
			w.call(w.connect(), p)
			if got == "mine" || len(got) < 20 {
				t.Errorf("the handler found %q", got)
			}
			w.took(1)
		})
	}
}
