package mcpguard_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
	"github.com/onceguard/onceguard/memstore"
)

// TestPolicies: what can be said in Go is what the file says, and what it
// refuses is refused.
func TestPolicies(t *testing.T) {
	every := mcpguard.Tool{
		Name: "send_*", Policy: onceguard.Policy{Kind: onceguard.SafeRetryKind, Horizon: 24 * time.Hour, Refusals: onceguard.RefusalsForgotten, MaxAttempts: 3},
		Limits:       onceguard.Limits{Wait: time.Second, MaxRun: time.Minute, Lease: 20 * time.Second, ResultRetention: 30 * 24 * time.Hour, IdentityRetention: onceguard.Forever},
		AnswerWithin: 45 * time.Second,
		Identity: mcpguard.Identity{
			Key: []string{"/order"}, Ignore: []string{"/note"}, Meta: "example.com/key", CallIDs: []string{"example.com/call"},
			TurnIDs: []string{"/deep/turn"}, ShowValues: []string{"/amount"},
		},
		IsError: mcpguard.IsErrorRefused, Repeat: mcpguard.RepeatReplay, Keep: mcpguard.KeepDigest,
		Inject: mcpguard.Inject{Argument: "/key", Length: 36}, CancelSafe: true,
	}
	if _, err := mcpguard.NewPolicy("shop", every, mcpguard.Tool{Name: "get_*", Pass: true}, mcpguard.Tool{Name: "*", Identity: mcpguard.Identity{Template: "{/a}-{/b}"}}); err != nil {
		t.Errorf("every field set: %v", err)
	}
	for name, tc := range map[string]struct {
		tool mcpguard.Tool
		want string
	}{
		"no name":                      {mcpguard.Tool{}, "name is missing"},
		"a pass that says more":        {mcpguard.Tool{Name: "a", Pass: true, IsError: mcpguard.IsErrorSuccess}, "mode is pass"},
		"a transaction":                {mcpguard.Tool{Name: "a", Policy: onceguard.Transactional}, "policy is"},
		"safe-retry without a key":     {mcpguard.Tool{Name: "a", Policy: onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten)}, "inject"},
		"a horizon without safe-retry": {mcpguard.Tool{Name: "a", Policy: onceguard.Policy{Horizon: time.Hour}}, "horizon"},
		"refusals of no kind":          {mcpguard.Tool{Name: "a", Policy: onceguard.Policy{Refusals: 9}}, "Refusals is 9"},
		"a limit with no meaning":      {mcpguard.Tool{Name: "a", Limits: onceguard.Limits{MaxResult: 7}}, "MaxResult"},
		"a wait below zero":            {mcpguard.Tool{Name: "a", Limits: onceguard.Limits{Wait: -1}}, "Limits.Wait is -1ns"},
		"no pointer":                   {mcpguard.Tool{Name: "a", Identity: mcpguard.Identity{Key: []string{"order"}}}, "order"},
		"an unknown repeat":            {mcpguard.Tool{Name: "a", Repeat: "twice"}, "twice"},
		"two places for the key":       {mcpguard.Tool{Name: "a", Inject: mcpguard.Inject{Meta: "m", Header: "H"}}, "one of argument"},
	} {
		if _, err := mcpguard.NewPolicy("shop", tc.tool); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want something about %q", name, err, tc.want)
		}
	}
	if _, err := mcpguard.NewPolicy("My Shop"); err == nil {
		t.Error("a server's name with a space was taken")
	}
	if _, err := mcpguard.ParsePolicy([]byte("version: 1\nserver: shop\ntool: []\n")); err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("an unknown key: %v", err)
	}
	file := filepath.Join(t.TempDir(), "tools.yaml")
	if err := os.WriteFile(file, []byte("version: 1\nserver: shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mcpguard.PolicyFile(file); err != nil {
		t.Error(err)
	}
	if _, err := mcpguard.PolicyFile(file + "x"); err == nil {
		t.Error("a file that is not there was read")
	}
}

// TestPolicyInGoHolds: fields of the Go policy reach the engine.
func TestPolicyInGoHolds(t *testing.T) {
	for _, tc := range []struct {
		name    string
		tool    mcpguard.Tool
		second  func(p *mcp.CallToolParams)
		verdict string
		runs    int64
	}{
		{name: "repeat: new", tool: mcpguard.Tool{Repeat: mcpguard.RepeatNew}, runs: 2},
		{name: "repeat: replay", tool: mcpguard.Tool{Repeat: mcpguard.RepeatReplay}, verdict: "replayed", runs: 1},
		{name: "pass", tool: mcpguard.Tool{Pass: true}, runs: 2},
		{name: "keep: digest", tool: mcpguard.Tool{Keep: mcpguard.KeepDigest, Repeat: mcpguard.RepeatReplay}, verdict: "no-result", runs: 1},
		{
			name: "ignore", tool: mcpguard.Tool{Identity: mcpguard.Identity{Ignore: []string{"/amount"}}}, verdict: "repeat", runs: 1,
			second: func(p *mcp.CallToolParams) { p.Arguments.(map[string]any)["amount"] = 6 },
		},
		{
			name: "meta", tool: mcpguard.Tool{Identity: mcpguard.Identity{Meta: "example.com/key"}}, runs: 2,
			second: func(p *mcp.CallToolParams) { p.Meta = mcp.Meta{"example.com/key": "another"} },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.tool.Name = "pay"
			policy, err := mcpguard.NewPolicy("shop", tc.tool)
			if err != nil {
				t.Fatal(err)
			}
			w.options.Policy = policy
			w.start()
			s := w.connect()
			w.call(s, with(pay("A-1", 5), mcp.Meta{"example.com/key": "one"}))
			p := with(pay("A-1", 5), mcp.Meta{"example.com/key": "one"})
			if tc.second != nil {
				tc.second(p)
			}
			w.expect(w.call(s, p), tc.verdict)
			w.took(tc.runs)
		})
	}
	t.Run("strict", func(t *testing.T) {
		w := newWorld(t)
		w.options.Strict = true
		w.start()
		s := w.connect()
		w.call(s, &mcp.CallToolParams{Name: "balance"})
		w.expect(w.call(s, &mcp.CallToolParams{Name: "balance"}), "repeat")
		w.took(1)
	})
	t.Run("no helpers", func(t *testing.T) {
		w := newWorld(t)
		w.options.NoHelpers = true
		list, err := w.start().connect().ListTools(w.ctx, nil)
		if err != nil || len(list.Tools) != 3 {
			t.Errorf("%d tools, %v", len(list.Tools), err)
		}
	})
}

func TestOptionsThatCannotBe(t *testing.T) {
	g := newGuard(t, memstore.New(memstore.Options{}))
	policy, err := mcpguard.NewPolicy("shop")
	if err != nil {
		t.Fatal(err)
	}
	single := mcpguard.SingleTenant
	for name, tc := range map[string]struct {
		guard *onceguard.Guard
		o     mcpguard.Options
		want  string
	}{
		"no guard":             {nil, mcpguard.Options{Server: "shop", Scope: single}, "no guard"},
		"no scope":             {g, mcpguard.Options{Server: "shop"}, "no Scope"},
		"no name":              {g, mcpguard.Options{Scope: single}, "give the server a name"},
		"two names":            {g, mcpguard.Options{Server: "other", Policy: policy, Scope: single}, "one name is enough"},
		"strict with a policy": {g, mcpguard.Options{Policy: policy, Strict: true, Scope: single}, "Strict"},
	} {
		if _, err := mcpguard.Receiving(context.Background(), tc.guard, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want something about %q", name, err, tc.want)
		}
	}
	if _, err := mcpguard.Sending(context.Background(), g, mcpguard.Options{Policy: policy}); err != nil {
		t.Errorf("a host without a Scope: %v", err)
	}
}

// TestClose waits for calls that run, and gives up with the context.
func TestClose(t *testing.T) {
	w := newWorld(t)
	begun, goOn := make(chan bool, 1), make(chan bool)
	w.pay = func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
		begun <- true
		<-goOn
		return w.act(ctx, r, in)
	}
	w.server = w.unguarded()
	m, err := mcpguard.Receiving(w.ctx, w.guard, w.options)
	if err != nil {
		t.Fatal(err)
	}
	w.server.AddReceivingMiddleware(m.Wrap)
	s := w.connect()
	answered := make(chan bool)
	go func() {
		defer close(answered)
		w.call(s, pay("A-1", 5))
	}()
	<-begun
	over, cancel := context.WithCancel(w.ctx)
	cancel()
	if err := m.Close(over); err == nil || !strings.Contains(err.Error(), "uncertain") {
		t.Errorf("Close returned %v while a call ran", err)
	}
	close(goOn)
	if err := m.Close(w.ctx); err != nil {
		t.Error(err)
	}
	w.took(1)
	<-answered
	if err := m.Close(w.ctx); err != nil {
		t.Error(err)
	}
}
