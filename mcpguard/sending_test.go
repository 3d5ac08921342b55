package mcpguard_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
)

// host makes the middleware of a Go host; a second one stands for a restart.
func (w *world) host() mcp.Middleware {
	w.Helper()
	o := w.options
	o.Scope = nil
	m, err := mcpguard.Sending(w.ctx, w.guard, o)
	if err != nil {
		w.Fatal(err)
	}
	w.closes(m)
	return m.Wrap
}

// plain makes the server, without a guard.
func (w *world) plain() *world {
	w.server = w.unguarded()
	return w
}

func TestSending(t *testing.T) {
	for _, tr := range []struct {
		name    string
		connect func(w *world) *mcp.ClientSession
	}{
		{"in memory", func(w *world) *mcp.ClientSession { return w.connect(w.host()) }},
		{"HTTP with sessions", func(w *world) *mcp.ClientSession { return w.connectHTTP(false, w.host()) }},
		{"HTTP without sessions", func(w *world) *mcp.ClientSession { return w.connectHTTP(true, w.host()) }},
	} {
		t.Run(tr.name, func(t *testing.T) {
			t.Run("the same key, after a restart", func(t *testing.T) {
				w := newWorld(t).plain()
				ctx := mcpguard.WithKey(w.ctx, onceguard.KeyOf("job", 7, "step", "pay"))
				var got [2]*mcp.CallToolResult
				for i := range got {
					r, err := tr.connect(w).CallTool(ctx, pay("A-1", 5))
					if err != nil {
						t.Fatal(err)
					}
					got[i] = r
				}
				w.took(1)
				if a, b := encode(t, got[0]), encode(t, got[1]); a != b {
					t.Errorf("the replay differs:\n %s\n %s", a, b)
				}
			})
			t.Run("the same key for another call", func(t *testing.T) {
				w := newWorld(t).plain()
				s := tr.connect(w)
				ctx := mcpguard.WithKey(w.ctx, onceguard.KeyOf("job", 7))
				for amount, verdict := range []string{"", "conflict"} {
					r, err := s.CallTool(ctx, pay("A-1", amount))
					if err != nil {
						t.Fatal(err)
					}
					w.expect(r, verdict)
				}
				w.took(1)
			})
			t.Run("two keys are two intentions", func(t *testing.T) {
				w := newWorld(t).plain()
				s := tr.connect(w)
				for n := range 2 {
					r, err := s.CallTool(mcpguard.WithKey(w.ctx, onceguard.KeyOf("job", n)), pay("A-1", 5))
					if err != nil {
						t.Fatal(err)
					}
					w.expect(r, "")
				}
				w.took(2)
			})
			t.Run("a model repeats an answered call", func(t *testing.T) {
				w := newWorld(t).plain()
				s := tr.connect(w)
				if _, err := s.ListTools(w.ctx, nil); err != nil {
					t.Fatal(err)
				}
				w.expect(w.call(s, pay("A-1", 5)), "")
				v := w.expect(w.call(s, pay("A-1", 5)), "repeat")
				w.took(1)
				again := pay("A-1", 5)
				again.Arguments.(map[string]any)["onceguard_repeat"] = v.RepeatToken
				w.expectNot(w.call(s, again), "repeat")
				w.took(2)
			})
			t.Run("what only reads passes", func(t *testing.T) {
				w := newWorld(t).plain()
				s := tr.connect(w)
				list, err := s.ListTools(w.ctx, nil)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					w.expect(w.call(s, &mcp.CallToolParams{Name: "balance"}), "")
				}
				w.took(2)
				if last := list.Tools[len(list.Tools)-1].Name; last != "onceguard_open" {
					t.Errorf("the last tool is %s", last)
				}
				if r := w.call(s, &mcp.CallToolParams{Name: "onceguard_open"}); !strings.Contains(text(r), "No call is running") {
					t.Errorf("the open calls are %s", text(r))
				}
			})
			t.Run("a tool that the server does not have", func(t *testing.T) {
				w := newWorld(t).plain()
				s := tr.connect(w)
				for range 2 {
					_, err := s.CallTool(w.ctx, &mcp.CallToolParams{Name: "none"})
					var wire *jsonrpc.Error
					if !errors.As(err, &wire) || wire.Code != jsonrpc.CodeInvalidParams {
						t.Errorf("the host got %v", err)
					}
				}
			})
		})
	}
}

// TestSendingExchange: questions and answers belong to one call.
func TestSendingExchange(t *testing.T) {
	for _, tc := range []struct {
		name    string
		answer  error // the host's own
		mute    bool  // the host has no way to ask
		refuse  bool  // the server refuses the second round
		verdict string
		effects int64
	}{
		{name: "answered", effects: 1},
		{name: "the user cannot be asked", answer: errors.New("nobody here"), verdict: "uncertain"},
		{name: "the asking could not be reached", answer: &net.OpError{Op: "dial", Err: errors.New("refused")}, verdict: "uncertain"},
		{name: "the asking did not execute", answer: onceguard.NotExecuted(errors.New("nobody here")), verdict: "uncertain"},
		{name: "the host cannot ask", mute: true, verdict: "uncertain"},
		{name: "the second round is refused", refuse: true, verdict: "uncertain"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			var rounds, asked atomic.Int64
			w.pay = func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
				rounds.Add(1)
				switch {
				case r.Params.InputResponses == nil:
					return &mcp.CallToolResult{InputRequests: mcp.InputRequestMap{"sure": &mcp.ElicitParams{Message: "sure?", RequestedSchema: map[string]any{"type": "object"}}}, RequestState: "s"}, paid{}, nil
				case tc.refuse:
					return nil, paid{}, &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "too late"}
				}
				return w.act(ctx, r, in)
			}
			w.client = &mcp.ClientOptions{ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
				asked.Add(1)
				return &mcp.ElicitResult{Action: "accept", Content: map[string]any{}}, tc.answer
			}}
			want := int64(1)
			if tc.mute {
				w.client, want = nil, 0
			}
			w.plain()
			s := w.connect(w.host())
			for range 2 {
				w.expect(w.call(s, with(pay("A-1", 5), mcp.Meta{"callId": "c"})), tc.verdict)
			}
			w.took(tc.effects)
			if asked.Load() != want || rounds.Load() > 2 {
				t.Errorf("the user was asked %d times in %d rounds, want %d", asked.Load(), rounds.Load(), want)
			}
		})
	}
}

// TestSendingLeaves: a host that gives up learns that the call goes on, and gets
// its result from the same call later.
func TestSendingLeaves(t *testing.T) {
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
	w.plain()
	s := w.connect(w.host())
	ctx, leave := context.WithCancel(w.ctx)
	go func() { <-begun; leave() }()
	if _, err := s.CallTool(ctx, pay("A-1", 5)); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "goes on") {
		t.Errorf("the host left with %v", err)
	}
	close(goOn)
	w.expect(w.call(s, pay("A-1", 5)), "")
	w.took(1)
}

// TestSendingBroken: an answer that does not come is an unknown outcome, and
// stays one when the server is back.
func TestSendingBroken(t *testing.T) {
	w := newWorld(t).plain()
	var cut atomic.Bool
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return w.server }, &mcp.StreamableHTTPOptions{Stateless: true, Logger: quiet})
	at := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if cut.Load() { // the tool runs, and nobody hears of it
			inner.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		inner.ServeHTTP(rw, r)
	}))
	t.Cleanup(at.Close)
	connect := func() *mcp.ClientSession {
		return w.dial(&mcp.StreamableClientTransport{Endpoint: at.URL, DisableStandaloneSSE: true, MaxRetries: -1}, w.host())
	}
	s := connect()
	cut.Store(true)
	w.expect(w.call(s, pay("A-1", 5)), "uncertain")
	cut.Store(false)
	w.expect(w.call(connect(), pay("A-1", 5)), "uncertain")
	w.took(1)
}

// TestSendingUnreachable: a server that was not reached did nothing.
func TestSendingUnreachable(t *testing.T) {
	w := newWorld(t).plain()
	var down atomic.Bool
	dialer := &net.Dialer{}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if down.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: errors.New("refused")}
		}
		return dialer.DialContext(ctx, network, addr)
	}}}
	connect := func() *mcp.ClientSession {
		return w.dial(&mcp.StreamableClientTransport{Endpoint: w.serve(true), HTTPClient: client, DisableStandaloneSSE: true, MaxRetries: -1}, w.host())
	}
	s := connect()
	down.Store(true)
	w.expect(w.call(s, pay("A-1", 5)), "not-run")
	down.Store(false)
	w.expect(w.call(connect(), pay("A-1", 5)), "")
	w.took(1)
}
