package mcpguard_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard/mcpguard"
)

// transports connect a client in every way that the SDK knows.
var transports = []struct {
	name    string
	connect func(w *world) *mcp.ClientSession
}{
	{"in memory", func(w *world) *mcp.ClientSession { return w.connect() }},
	{"HTTP with sessions", func(w *world) *mcp.ClientSession { return w.connectHTTP(false) }},
	{"HTTP without sessions", func(w *world) *mcp.ClientSession { return w.connectHTTP(true) }},
}

func TestReceiving(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			t.Run("the same key again", func(t *testing.T) {
				w := newWorld(t).start()
				s := tr.connect(w)
				for range 2 {
					w.expect(w.call(s, with(pay("A-1", 5), mcp.Meta{"io.github.onceguard/key": "k-1"})), "")
				}
				w.took(1)
				same(t, w.wire.results(t))
			})
			t.Run("what no decoder keeps", func(t *testing.T) {
				w := newWorld(t).start()
				s := tr.connect(w)
				for range 3 {
					w.call(s, &mcp.CallToolParams{Name: "raw", Meta: mcp.Meta{"callId": "c"}})
				}
				w.took(1)
				list := w.wire.results(t)
				same(t, list)
				if n := strings.Count(list[0], `{"z":9007199254740993,"run":1,"a":"`); n != 3 {
					t.Errorf("%d of 3 exact values in %s", n, list[0])
				}
			})
			t.Run("the same host's id again, after a restart", func(t *testing.T) {
				w := newWorld(t).start()
				w.call(tr.connect(w), with(pay("A-1", 5), mcp.Meta{"claudecode/toolUseId": "toolu_1"}))
				w.start()
				w.call(tr.connect(w), with(pay("A-1", 5), mcp.Meta{"claudecode/toolUseId": "toolu_1"}))
				w.took(1)
				same(t, w.wire.results(t))
			})
			t.Run("an answered call again", func(t *testing.T) {
				w := newWorld(t).start()
				s := tr.connect(w)
				w.call(s, pay("A-1", 5))
				v := w.expect(w.call(s, pay("A-1", 5)), "repeat")
				w.took(1)
				again := pay("A-1", 5)
				again.Arguments.(map[string]any)["onceguard_repeat"] = v.RepeatToken
				for range 2 {
					w.expectNot(w.call(s, again), "repeat")
				}
				w.took(2)
			})
			t.Run("another tool's definition says that it only reads", func(t *testing.T) {
				w := newWorld(t).start()
				s := tr.connect(w)
				for range 2 {
					w.expect(w.call(s, &mcp.CallToolParams{Name: "balance"}), "")
				}
				w.took(2)
			})
		})
	}
}

// same fails unless all are the same bytes, and more than one.
func same(t *testing.T, list []string) {
	t.Helper()
	if len(list) < 2 {
		t.Fatalf("%d results", len(list))
	}
	for _, r := range list[1:] {
		if r != list[0] {
			t.Errorf("a replay differs from the first answer\n first %s\n then  %s", list[0], r)
		}
	}
}

func (w *world) expectNot(r *mcp.CallToolResult, name string) {
	w.Helper()
	if v, _ := mcpguard.ReadVerdict(r); v.Name == name || r.IsError {
		w.Errorf("the verdict is %q: %s", v.Name, text(r))
	}
}

// TestReceivingAtOnce: callers at the same time share one effect and its bytes.
func TestReceivingAtOnce(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			w := newWorld(t)
			begun, goOn := make(chan bool, 1), make(chan bool)
			w.pay = func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
				begun <- true
				<-goOn
				return w.act(ctx, r, in)
			}
			w.start()
			var all sync.WaitGroup
			for range 8 {
				s := tr.connect(w)
				all.Go(func() { w.call(s, with(pay("A-1", 5), mcp.Meta{"callId": "c"})) })
			}
			<-begun
			close(goOn)
			all.Wait()
			w.took(1)
			same(t, w.wire.results(t))
		})
	}
}

// TestReceivingClientLeaves: a client that gave up does not end the tool, and
// gets the result when it asks again under another id.
func TestReceivingClientLeaves(t *testing.T) {
	w := newWorld(t)
	begun, goOn := make(chan bool, 1), make(chan bool)
	w.pay = func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
		begun <- true
		<-goOn
		if ctx.Err() != nil {
			return nil, paid{}, errors.New("cancelled")
		}
		return w.act(ctx, r, in)
	}
	w.start()
	gone := make(chan bool)
	leaving := sync.OnceFunc(func() { close(gone) })
	w.server.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method == "tools/call" {
				defer context.AfterFunc(ctx, leaving)()
			}
			return next(ctx, method, req)
		}
	})
	s := w.connect()
	ctx, leave := context.WithCancel(w.ctx)
	left := make(chan error)
	go func() {
		_, err := s.CallTool(ctx, pay("A-1", 5))
		left <- err
	}()
	<-begun
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the client left with %v", err)
	}
	<-gone
	close(goOn)
	r := w.call(w.connect(), pay("A-1", 5)) // in another session, as after a broken stream
	if v, ok := mcpguard.ReadVerdict(r); ok || r.IsError {
		t.Errorf("the retry was told %+v: %s", v, text(r))
	}
	w.took(1)
}

// TestReceivingDrift: the same order with another amount runs nothing.
func TestReceivingDrift(t *testing.T) {
	w := newWorld(t)
	var err error
	w.options.Policy, err = mcpguard.ParsePolicy([]byte("version: 1\nserver: shop\ntools:\n  - name: pay\n    identity: {key: [/order]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	w.start()
	s := w.connect()
	w.call(s, pay("A-1", 5))
	v := w.expect(w.call(s, pay("A-1", 6)), "drift")
	if len(v.ChangedFields) != 1 || v.ChangedFields[0] != "/amount" || !v.MayHaveRun {
		t.Errorf("the verdict is %+v", v)
	}
	w.took(1)
}

// TestReceivingScopes: callers with different tokens do not meet, and one
// without a token runs nothing.
func TestReceivingScopes(t *testing.T) {
	w := newWorld(t)
	w.options.Scope = mcpguard.TokenUser
	w.start()
	as := func(user string) mcp.Middleware {
		return func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if r, ok := req.(*mcp.CallToolRequest); ok {
					r.Extra = &mcp.RequestExtra{TokenInfo: &auth.TokenInfo{UserID: user}}
				}
				return next(ctx, method, req)
			}
		}
	}
	for _, user := range []string{"ann", "bob", "ann"} {
		w.start()
		w.server.AddReceivingMiddleware(as(user))
		w.call(w.connect(), with(pay("A-1", 5), mcp.Meta{"callId": "c"}))
	}
	w.took(2)
	for name, scope := range map[string]func(context.Context, mcp.Request) (string, error){
		"no token":     mcpguard.TokenUser,
		"an empty one": func(context.Context, mcp.Request) (string, error) { return "", nil },
	} {
		w.options.Scope = scope
		_, err := w.start().connect().CallTool(w.ctx, pay("A-1", 5))
		var wire *jsonrpc.Error
		if !errors.As(err, &wire) || wire.Code != -32001 {
			t.Errorf("a caller with %s got %v", name, err)
		}
	}
	w.took(2)
}

// TestReceivingList: the list has the argument and the two tools, and the
// server's own definitions stay as they are.
func TestReceivingList(t *testing.T) {
	w := newWorld(t).start()
	s := w.connect()
	for range 2 {
		list, err := s.ListTools(w.ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, tool := range list.Tools {
			names = append(names, tool.Name)
			properties, _ := tool.InputSchema.(map[string]any)["properties"].(map[string]any)
			if _, has := properties["onceguard_repeat"]; has != (tool.Name == "pay" || tool.Name == "raw") {
				t.Errorf("%s has the argument: %v", tool.Name, has)
			}
		}
		if got := strings.Join(names, " "); got != "balance pay raw onceguard_status onceguard_open" {
			t.Errorf("the list is %s", got)
		}
	}
	w.call(s, pay("A-1", 5))
	v := w.expect(w.call(s, pay("A-1", 5)), "repeat")
	r := w.call(s, &mcp.CallToolParams{Name: "onceguard_status", Arguments: map[string]any{"request_id": v.RequestID}})
	if !strings.Contains(text(r), "succeeded") {
		t.Errorf("the status is %s", text(r))
	}
	w.took(1)
}
