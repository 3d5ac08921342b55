package mcpguard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
	"github.com/onceguard/onceguard/memstore"
)

var quiet = slog.New(slog.DiscardHandler)

// order are the arguments of pay.
type order struct {
	Order  string `json:"order"`
	Amount int    `json:"amount"`
}

// paid is its result; the members are not in the order of the alphabet.
type paid struct {
	Receipt string `json:"receipt"`
	Number  int64  `json:"number"`
	Amount  int    `json:"amount"`
}

// world is one server with the tools pay and balance, and what it did.
type world struct {
	testing.TB
	ctx     context.Context
	guard   *onceguard.Guard
	options mcpguard.Options
	server  *mcp.Server
	effects atomic.Int64
	pay     func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error)
	client  *mcp.ClientOptions
	wire    wiretap // what clients got
}

// wiretap collects the frames that a client reads.
type wiretap struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *wiretap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

// results are the raw results of tools/call, in the order of arrival.
func (w *wiretap) results(t testing.TB) (list []string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for line := range strings.Lines(w.buf.String()) {
		frame, ok := strings.CutPrefix(line, "read: ")
		if !ok {
			continue
		}
		var m struct {
			Result json.RawMessage `json:"result"`
		}
		if err := json.Unmarshal([]byte(frame), &m); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Result), `"content"`) {
			list = append(list, string(m.Result))
		}
	}
	return list
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	w := &world{TB: t, ctx: ctx, options: mcpguard.Options{Server: "shop", Scope: mcpguard.SingleTenant, Log: quiet}}
	w.guard = newGuard(t, memstore.New(memstore.Options{}))
	w.pay = w.act
	return w
}

func newGuard(t testing.TB, s onceguard.Store) *onceguard.Guard {
	t.Helper()
	g, err := onceguard.New(context.Background(), s, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// act is the effect.
func (w *world) act(_ context.Context, _ *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
	n := w.effects.Add(1)
	return nil, paid{Receipt: "r-" + in.Order, Number: n, Amount: in.Amount}, nil
}

// start makes the server, with the guard; a second call stands for a restart.
func (w *world) start() *world {
	w.Helper()
	w.server = w.unguarded()
	m, err := mcpguard.Receiving(w.ctx, w.guard, w.options)
	if err != nil {
		w.Fatal(err)
	}
	w.server.AddReceivingMiddleware(m.Wrap)
	w.closes(m)
	return w
}

func (w *world) closes(m *mcpguard.Middleware) {
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			w.Error(err)
		}
	})
}

func (w *world) unguarded() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, &mcp.ServerOptions{Logger: quiet})
	mcp.AddTool(s, &mcp.Tool{Name: "pay", Description: "pays an order"}, func(ctx context.Context, r *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
		return w.pay(ctx, r, in)
	})
	s.AddTool(&mcp.Tool{Name: "raw", InputSchema: json.RawMessage(`{"type":"object"}`)}, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		exact := json.RawMessage(fmt.Sprintf(`{"z":9007199254740993,"run":%d,"a":"<&>","f":1.50}`, w.effects.Add(1)))
		return &mcp.CallToolResult{
			Meta:              mcp.Meta{"example.com/exact": exact, "example.com/plain": "p"},
			Content:           []mcp.Content{&mcp.TextContent{Text: "<b>\u2028", Meta: mcp.Meta{"example.com/exact": exact}}, &mcp.ImageContent{Data: []byte{1, 2}, MIMEType: "image/png"}},
			StructuredContent: exact,
		}, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "balance", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
		w.effects.Add(1)
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "100"}}}, nil, nil
	})
	return s
}

// connect makes a client of the server, in memory.
func (w *world) connect(middleware ...mcp.Middleware) *mcp.ClientSession {
	w.Helper()
	here, there := mcp.NewInMemoryTransports()
	served, err := w.server.Connect(w.ctx, there, nil)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = served.Close() })
	return w.dial(here, middleware...)
}

// connectHTTP makes a client of the server over streamable HTTP.
func (w *world) connectHTTP(stateless bool, middleware ...mcp.Middleware) *mcp.ClientSession {
	w.Helper()
	return w.dial(&mcp.StreamableClientTransport{Endpoint: w.serve(stateless), DisableStandaloneSSE: true, MaxRetries: -1}, middleware...)
}

func (w *world) serve(stateless bool) (url string) {
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return w.server }, &mcp.StreamableHTTPOptions{Stateless: stateless, Logger: quiet})
	at := httptest.NewServer(h)
	w.Cleanup(at.Close)
	return at.URL
}

func (w *world) dial(t mcp.Transport, middleware ...mcp.Middleware) *mcp.ClientSession {
	w.Helper()
	c := mcp.NewClient(&mcp.Implementation{Name: "host", Version: "1"}, w.client)
	c.AddSendingMiddleware(middleware...)
	s, err := c.Connect(w.ctx, &mcp.LoggingTransport{Transport: t, Writer: &w.wire}, nil)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = s.Close() })
	return s
}

// call pays once.
func (w *world) call(s *mcp.ClientSession, p *mcp.CallToolParams) *mcp.CallToolResult {
	w.Helper()
	r, err := s.CallTool(w.ctx, p)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func pay(orderID string, amount int) *mcp.CallToolParams {
	return &mcp.CallToolParams{Name: "pay", Arguments: map[string]any{"order": orderID, "amount": amount}}
}

func with(p *mcp.CallToolParams, meta mcp.Meta) *mcp.CallToolParams {
	p.Meta = meta
	return p
}

// text is what a model reads first.
func text(r *mcp.CallToolResult) string {
	if len(r.Content) == 0 {
		return ""
	}
	t, _ := r.Content[0].(*mcp.TextContent)
	if t == nil {
		return ""
	}
	return t.Text
}

// expect checks a verdict: empty for a result of the tool's own.
func (w *world) expect(r *mcp.CallToolResult, name string) mcpguard.Verdict {
	w.Helper()
	v, _ := mcpguard.ReadVerdict(r)
	if v.Name != name {
		w.Errorf("the verdict is %q, want %q: %s", v.Name, name, text(r))
	}
	return v
}

func (w *world) took(n int64) {
	w.Helper()
	if got := w.effects.Load(); got != n {
		w.Errorf("%d effects, want %d", got, n)
	}
}

// encode is what a result is as JSON.
func encode(t testing.TB, r *mcp.CallToolResult) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
