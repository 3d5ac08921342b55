//go:build unix

package mcpproxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// patience bounds every wait for an event; a test that reaches it has failed.
const patience = 20 * time.Second

// envServer makes this test program the server of a test, and names its part.
const envServer = "ONCEGUARD_TEST_MCP_SERVER"

func TestMain(m *testing.M) {
	if part := os.Getenv(envServer); part != "" {
		os.Exit(server(part))
	}
	os.Exit(m.Run())
}

// server is a child process. It answers a call of tool "hang" when told to by a
// notification "go", "die" not at all, and others with the line that it read.
func server(part string) int {
	in := bufio.NewReaderSize(os.Stdin, 32<<20)
	if part == "signals" {
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, syscall.SIGTERM, syscall.SIGUSR1)
		go func() {
			for s := range caught {
				fmt.Printf(`{"method":"signal","params":%q}`+"\n", s)
				if s == syscall.SIGTERM {
					os.Exit(42)
				}
			}
		}()
		fmt.Println(`{"method":"ready"}`)
	}
	var hung []mcpwire.Message
	asks := 0
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return 7
		}
		m := mcpwire.Parse(line)
		name, _ := mcpwire.Sole(m.Params, "name")
		switch tool := strings.Trim(string(name), `"`); {
		case part == "mute":
		case m.Kind == mcpwire.Response && asks > 0:
			asks--
			fmt.Printf(`{"id":"more%d","method":"roots/list"}`+"\n", asks)
		case m.Kind == mcpwire.Response:
			for _, h := range hung { // which "ask" left
				echo(&h)
			}
			hung = nil
		case m.Method == "go":
			for _, h := range hung {
				echo(&h)
			}
			hung = nil
		case m.Method == "notifications/cancelled":
			fmt.Printf(`{"method":"saw","params":%s}`+"\n", m.Params)
		case m.Method == methodList && part == "tools":
			fmt.Printf(`{"result": {"tools":[]} ,"id":%s}`+"\n", m.ID)
		case m.Method != methodCall:
			os.Stdout.Write(line)
		case tool == "hang":
			hung = append(hung, m)
			fmt.Printf(`{"method":"hanging","params":{"id":%s}}`+"\n", m.ID)
		case tool == "die":
			return 3
		case tool == "ask":
			hung = append(hung, m)
			fmt.Printf(`{"id":%s,"method":"roots/list"}`+"\n", m.ID) // the same id, the other way
		case tool == "ask often":
			hung, asks = append(hung, m), 20
			fmt.Printf(`{"id":%s,"method":"roots/list"}`+"\n", m.ID)
		case tool == "large":
			fmt.Printf(`{"result":{"content":[],"structuredContent":"%s"},"id":%s}`+"\n", strings.Repeat("x", 2<<20), m.ID)
		case tool == "refuse":
			fmt.Printf(`{"id":%s,  "error":{"code":-32602,"message":"no"},"extra":1}`+"\n", m.ID)
		default:
			echo(&m)
		}
	}
}

// echo answers with the very line of a call.
func echo(m *mcpwire.Message) {
	text, _ := json.Marshal(string(m.Raw))
	fmt.Printf(`{ "result":{"content":[],"line":%s},"extra":[1.0],"id":%s}`+"\n", text, m.ID)
}

// fakeGate forwards every guarded call as it is, unless do says otherwise, and
// records what it is told.
type fakeGate struct {
	do func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply

	told chan string
}

func newFakeGate() *fakeGate { return &fakeGate{told: make(chan string, 1000)} }

func (g *fakeGate) note(format string, args ...any) {
	g.told <- fmt.Sprintf(format, args...)
}

// Decide implements Gate.
func (g *fakeGate) Decide(tool string) mcpcall.Decision {
	switch {
	case strings.HasPrefix(tool, "pass"):
		return mcpcall.Pass
	case tool == "own":
		return mcpcall.Own
	}
	return mcpcall.Guard
}

// Do implements Gate.
func (g *fakeGate) Do(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
	if g.do != nil {
		return g.do(ctx, c, up)
	}
	return g.forward(context.WithoutCancel(ctx), c, up)
}

func (g *fakeGate) forward(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
	r, err := up(ctx, c.Params, c.Header)
	if err != nil {
		g.note("no answer: %v", err)
		return mcpcall.Reply{Result: json.RawMessage(`{"isError":true,"verdict":"may have happened"}`), Verdict: mcpcall.Uncertain}
	}
	g.note("settled")
	return r
}

// Delivered implements Gate.
func (g *fakeGate) Delivered(context.Context, mcpcall.Handle) error { g.note("delivered"); return nil }

// Acknowledged implements Gate.
func (g *fakeGate) Acknowledged(context.Context, mcpcall.Handle) error {
	g.note("acknowledged")
	return nil
}

// Tools implements Gate.
func (g *fakeGate) Tools(_ context.Context, result json.RawMessage) json.RawMessage {
	if string(result) != `{"tools":[]}` {
		return result
	}
	return json.RawMessage("{\"tools\":[\n\"added\"]}")
}

// Helper implements Gate.
func (g *fakeGate) Helper(_ context.Context, principal string, params json.RawMessage) mcpcall.Reply {
	return mcpcall.Reply{Result: params}
}

// Task implements Gate.
func (g *fakeGate) Task(_ context.Context, principal, method string, params, result json.RawMessage) error {
	g.note("task %s %s %s", method, params, result)
	return nil
}

var _ Gate = (*fakeGate)(nil)

// await returns what the gate was told, which must be want.
func (g *fakeGate) await(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-g.told:
		if !strings.Contains(got, want) {
			t.Errorf("the gate was told %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Errorf("the gate was not told %q", want)
	}
}

func (g *fakeGate) quiet(t *testing.T) {
	t.Helper()
	select {
	case got := <-g.told:
		t.Errorf("the gate was told %q", got)
	default:
	}
}

// wire is one client of a Stdio, in this process.
type wire struct {
	t       *testing.T
	gate    *fakeGate
	in      *io.PipeWriter
	lines   chan string
	signals chan os.Signal
	cancel  context.CancelFunc
	status  chan int
	ended   bool
}

func newWire(t *testing.T, gate *fakeGate, command ...string) *wire {
	t.Helper()
	w := newWireOn(t, gate, command...)
	w.gate = gate
	return w
}

func newWireOn(t *testing.T, gate Gate, command ...string) *wire {
	t.Helper()
	part := "tools"
	if len(command) == 1 {
		part, command = command[0], nil
	}
	if command == nil {
		command = []string{os.Args[0]}
	}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	w := &wire{t: t, in: inW, lines: make(chan string, 10_000), signals: make(chan os.Signal, 8), cancel: cancel, status: make(chan int, 1)}
	p := &Stdio{
		Gate: gate, Command: command, Env: append(os.Environ(), envServer+"="+part), Stdin: inR, Stdout: outW, Stderr: os.Stderr,
		Signals: w.signals, Log: slog.New(slog.DiscardHandler), limit: 1 << 20,
	}
	go func() {
		status, err := p.Run(ctx)
		if err != nil {
			t.Errorf("Run: %v", err)
		}
		_ = outW.Close()
		w.status <- status
	}()
	go func() {
		defer close(w.lines)
		r := bufio.NewReaderSize(outR, 1<<20)
		for {
			line, err := r.ReadString('\n')
			if line != "" {
				w.lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = inW.Close()
		cancel()
		if !w.ended {
			w.end(-1)
		}
	})
	return w
}

func (w *wire) send(line string) {
	w.t.Helper()
	if _, err := io.WriteString(w.in, line); err != nil {
		w.t.Error(err)
	}
}

// read returns the next line, without its end.
func (w *wire) read() string {
	w.t.Helper()
	select {
	case line, ok := <-w.lines:
		if !ok {
			w.t.Fatal("the proxy has ended")
		}
		return strings.TrimSuffix(line, "\n")
	case <-time.After(patience):
		w.t.Fatal("no line came")
	}
	return ""
}

func (w *wire) want(line string) {
	w.t.Helper()
	if got := w.read(); got != line {
		w.t.Errorf("the client got\n%.400s\nwant\n%.400s", got, line)
	}
}

// end waits for the proxy's end; a negative status is any.
func (w *wire) end(status int) {
	w.t.Helper()
	w.ended = true
	select {
	case got := <-w.status:
		if status >= 0 && got != status {
			w.t.Errorf("the proxy ended with %d, want %d", got, status)
		}
	case <-time.After(patience):
		w.t.Error("the proxy did not end")
	}
}

// echoed is how the server answers a call whose line it read.
func echoed(line, id string) string {
	text, _ := json.Marshal(line)
	return fmt.Sprintf(`{ "result":{"content":[],"line":%s},"extra":[1.0],"id":%s}`, text, id)
}
