//go:build unix

package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// Whatever is no call of a guarded tool reaches the server, and what the server
// writes reaches the client, to the byte: the server is cat.
func TestStdioPassesBytes(t *testing.T) {
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		var in bytes.Buffer
		for range 100 {
			in.WriteString(randomFrame(r))
		}
		if seed%2 == 0 {
			in.WriteString("no end")
		}
		sent := in.String()
		var out bytes.Buffer
		p := &Stdio{Gate: newFakeGate(), Command: []string{"cat"}, Env: os.Environ(), Stdin: &in, Stdout: &out, Stderr: os.Stderr, Log: slog.New(slog.DiscardHandler)}
		if status, err := p.Run(t.Context()); status != 0 || err != nil {
			t.Fatalf("seed %d: %d, %v", seed, status, err)
		}
		if got := out.String(); got != sent {
			t.Errorf("seed %d: of %d bytes %d came back, otherwise from %.200q", seed, len(sent), len(got), got[common(got, sent):])
		}
	}
}

func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func randomFrame(r *rand.Rand) string {
	ids := []string{"1", "9007199254740993", "1.5", `"a\u0062"`, "null", "-0", `"\ud800"`, "1e400"}
	id := ids[r.IntN(len(ids))]
	end := []string{"\n", "\r\n", " \t\n"}[r.IntN(3)]
	frames := []string{
		`{"jsonrpc":"2.0","id":%s,"method":"initialize","params":{"x":1.0,"x":2}}`, `{ "id" : %s , "method" : "unknown/method" }`,
		`{"id":%s,"result":{"deep":[[[{"a":"}]"}]]]},"more":null}`, `{"id":%s,"error":{"code":-32601,"message":"\/"},"x":{}}`,
		`{"method":"notifications/progress","params":{"progressToken":%s}}`, `{"method":"notifications/cancelled","params":{"requestId":%s}}`,
		`[{"id":%s,"method":"ping"},{"method":"notifications/x"}]`, `[]`, ``, `not json %s`, `{"id":%s,"method":"a","method":"b"}`,
		`{"id":%s,"method":"tools/call","params":{"name":"pass_1","arguments":{"a":1,"a":2}}}`, "\xff\xfe%s", `{"id":%s,"method":`,
		`{"id":%s,"METHOD":"x","Id":7}`, strings.Repeat("x", r.IntN(200<<10)) + "%s",
	}
	f := frames[r.IntN(len(frames))]
	if id == "null" || id == "1e400" {
		f = strings.ReplaceAll(f, "tools/call", "tools/called") // an id that no call may have
	}
	if strings.Contains(f, "%s") {
		return fmt.Sprintf(f, id) + end
	}
	return f + end
}

// A message larger than what is read whole passes, if it surely is no guarded
// call.
func TestStdioLargeMessages(t *testing.T) {
	big := strings.Repeat("y", 2<<20)
	gate := newFakeGate()
	w := newWire(t, gate, "cat", "-")
	for _, line := range []string{
		`{"id":1,"method":"other","params":"` + big + `"}`, `{"result":"` + big + `","id":1}`,
		`{"method":"tools/call","id":1,"params":{"name":"pass","arguments":"` + big + `"}}`,
	} {
		go w.send(line + "\n")
		w.want(line)
	}
	for line, id := range map[string]string{
		`{"method":"tools/call","params":{"name":"pay","arguments":"` + big + `"},"id":1.5}`:  "1.5",
		`{"params":{"arguments":"` + big + `","name":"pass"},"method":"tools/call","id":"x"}`: `"x"`,
		`[{"id":1,"method":"other","params":"` + big + `"}]`:                                  "null",
	} {
		go w.send(line + "\n")
		if got := w.read(); !strings.Contains(got, `"id":`+id+`,"error"`) || !strings.Contains(got, "16 MiB") {
			t.Errorf("got %.300s", got)
		}
	}
	w.send("after\n")
	w.want("after")
	gate.quiet(t)
}

func TestStdioGuardedCalls(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"as it came":        {`{"jsonrpc":"2.0","x":[1.0],"id":9007199254740993, "method":"tools/call","params":{"name":"pay", "arguments":{"a":1.0}}}`, ""},
		"fraction":          {`{"id":1.5,"method":"tools/call","params":{"name":"pay"}}`, ""},
		"text":              {`{"id":"a\u0062","method":"tools\/call","params":{"name":"pay"}}`, ""},
		"error":             {`{"id":2,"method":"tools/call","params":{"name":"refuse"}}`, `{"id":2,  "error":{"code":-32602,"message":"no"},"extra":1}`},
		"own tool":          {`{"id":3,"method":"tools/call","params":{"name":"own"}}`, `{"jsonrpc":"2.0","id":3,"result":{"name":"own"}}`},
		"list":              {`{"id":4,"method":"tools/list"}`, `{"result": {"tools":["added"]} ,"id":4}`},
		"no name":           {`{"id":5,"method":"tools/call","params":{"Name":"pay"}}`, `{"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"` + textNoName + `"}}`},
		"two names":         {`{"id":5,"method":"tools/call","params":{"name":"pass","name":"pay"}}`, `{"jsonrpc":"2.0","id":5,"error":{"code":-32602,"message":"` + textNoName + `"}}`},
		"two methods":       {`{"id":6,"method":"x","method":"tools/call"}`, `{"jsonrpc":"2.0","id":6,"error":{"code":-32600,"message":"` + textAmbiguous + `"}}`},
		"cut":               {`{"id":6,"method":"tools/call","params":{"name":"pay"}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"` + textUnreadable + `"}}`},
		"two calls":         {`{"id":6,"method":"x"}{"id":7,"method":"tools/call","params":{"name":"pay"}}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"` + textUnreadable + `"}}`},
		"null id":           {`{"id":null,"method":"tools/call","params":{"name":"pay"}}`, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"` + textID + `"}}`},
		"batch":             {`[{"id":8,"method":"ping"},{"id":9.0,"method":"tools/call","params":{"name":"pay"}},{"method":"n"}]`, `[{"jsonrpc":"2.0","id":8,"error":{"code":-32600,"message":"` + textBatch + `"}},{"jsonrpc":"2.0","id":9.0,"error":{"code":-32600,"message":"` + textBatch + `"}}]`},
		"batch that passes": {`[{"id":8,"method":"ping"}, {"id":9,"method":"tools/call","params":{"name":"pass"}}]`, `[{"id":8,"method":"ping"}, {"id":9,"method":"tools/call","params":{"name":"pass"}}]`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, newFakeGate())
			want := c.want
			if want == "" {
				m := struct{ ID json.RawMessage }{}
				if err := json.Unmarshal([]byte(c.line), &m); err != nil {
					t.Fatal(err)
				}
				want = echoed(c.line+"\n", string(m.ID))
			}
			w.send(c.line + "\n")
			w.want(want)
			_ = w.in.Close()
			w.end(7)
		})
	}
}

// The last line of a client that ends is read by the server, though it has no
// end; its answer is written.
func TestStdioLastLine(t *testing.T) {
	w := newWire(t, newFakeGate())
	line := `{"id":1,"method":"tools/call","params":{"name":"pay"}}`
	w.send(line)
	_ = w.in.Close()
	w.want(echoed(line+"\n", "1"))
	w.end(7)
}

func TestStdioRewritesParams(t *testing.T) {
	gate := newFakeGate()
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		c.Params = json.RawMessage("{\"name\":\"pay\",\n\"key\":1}")
		return gate.forward(ctx, c, up)
	}
	w := newWire(t, gate)
	w.send(`{ "id":1.0,"params": {"name":"pay"} ,"method":"tools/call"}` + "\r\n")
	w.want(echoed(`{ "id":1.0,"params": {"name":"pay","key":1} ,"method":"tools/call"}`+"\r\n", "1.0"))
}

// A verdict is the gate's text under the client's id, and nothing reaches the
// server.
func TestStdioVerdict(t *testing.T) {
	gate := newFakeGate()
	gate.do = func(context.Context, mcpcall.Call, mcpcall.Upstream) mcpcall.Reply {
		return mcpcall.Reply{Result: json.RawMessage("{\n\"again\":1.0}"), Verdict: mcpcall.Replayed}
	}
	w := newWire(t, gate)
	w.send(`{"id":1e1,"method":"tools/call","params":{"name":"die"}}` + "\n")
	w.want(`{"jsonrpc":"2.0","id":1e1,"result":{"again":1.0}}`)
	gate.await(t, "delivered")
}

// The ids of both directions are the same numbers and mean different calls.
func TestStdioIDsCollide(t *testing.T) {
	gate := newFakeGate()
	w := newWire(t, gate)
	line := `{"id":1,"method":"tools/call","params":{"name":"ask"}}` + "\n"
	w.send(line)
	w.want(`{"id":1,"method":"roots/list"}`)
	w.send(`{"id":1,"result":{"roots":[]}}` + "\n")
	w.want(echoed(line, "1"))
	gate.await(t, "settled")
	gate.await(t, "delivered")
}

// A cancellation does not reach the server: the call goes on, its outcome is
// stored, and the answer is not delivered.
func TestStdioCancellation(t *testing.T) {
	gate := newFakeGate()
	w := newWire(t, gate)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"hang"}}` + "\n")
	w.want(`{"method":"hanging","params":{"id":1}}`)
	w.send(`{"method":"notifications/cancelled","params":{"requestId":2}}` + "\n")
	w.want(`{"method":"saw","params":{"requestId":2}}`)
	w.send(`{"method":"notifications/cancelled","params":{"requestId":1.0}}` + "\n")
	w.send(`[{"method":"notifications/cancelled","params":{"requestId":1}},{"method":"kept"}]` + "\n")
	w.want(`[{"method":"kept"}]`)
	w.send(`{"id":1,"method":"ping"}` + "\n")
	w.want(`{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"` + textIDInUse + `"}}`)
	w.send(`{"method":"go"}` + "\n")
	gate.await(t, "settled")
	w.send(`{"id":3,"method":"ping"}` + "\n")
	w.want(`{"id":3,"method":"ping"}`)
	gate.quiet(t)
}

// Where the gate lets a cancellation through, the server gets it, and what it
// still answers counts.
func TestStdioCancelSafe(t *testing.T) {
	gate := newFakeGate()
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		return gate.forward(ctx, c, up)
	}
	w := newWire(t, gate)
	w.send(`{"id":"a","method":"tools/call","params":{"name":"hang"}}` + "\n")
	w.want(`{"method":"hanging","params":{"id":"a"}}`)
	w.send(`{"method":"notifications/cancelled","params":{"requestId":"a"}}` + "\n")
	w.want(`{"method":"saw","params":{"requestId":"a"}}`)
	w.send(`{"method":"go"}` + "\n")
	gate.await(t, "settled")
}

// An answer that comes after the call was given up is not taken for that of
// another, and not passed on.
func TestStdioLateAnswer(t *testing.T) {
	gate := newFakeGate()
	over, end := context.WithCancel(t.Context())
	gate.do = func(_ context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		return gate.forward(over, c, up)
	}
	w := newWire(t, gate)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"hang"}}` + "\n")
	w.want(`{"method":"hanging","params":{"id":1}}`)
	end()
	w.want(`{"jsonrpc":"2.0","id":1,"result":{"isError":true,"verdict":"may have happened"}}`)
	gate.await(t, "no answer came")
	w.send(`{"id":1,"method":"tools/call","params":{"name":"pay"}}` + "\n")
	w.want(`{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"` + textIDInUse + `"}}`)
	w.send(`{"method":"go"}` + "\n")
	w.send(`{"method":"after"}` + "\n")
	w.want(`{"method":"after"}`)
	w.send(`{"id":1,"method":"ping"}` + "\n")
	w.want(`{"id":1,"method":"ping"}`)
}

// A server that dies leaves its calls unknown; the client is told, and the
// proxy ends as the server did.
func TestStdioServerDies(t *testing.T) {
	gate := newFakeGate()
	w := newWire(t, gate)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"hang"}}` + "\n")
	w.want(`{"method":"hanging","params":{"id":1}}`)
	w.send(`{"id":2,"method":"tools/call","params":{"name":"die"}}` + "\n")
	for range 2 {
		if got := w.read(); !strings.Contains(got, "may have happened") {
			t.Errorf("got %s", got)
		}
	}
	w.end(3)
}

// When the server is gone, nothing was sent.
func TestStdioServerGoneBefore(t *testing.T) {
	release, failed := make(chan struct{}), make(chan error, 1)
	gate := newFakeGate()
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		if strings.Contains(string(c.Params), "die") {
			return gate.forward(ctx, c, up)
		}
		<-release
		_, err := up(ctx, c.Params, nil)
		failed <- err
		return mcpcall.Reply{Result: json.RawMessage(`{}`), Verdict: mcpcall.NotRun}
	}
	w := newWire(t, gate)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"pay"}}` + "\n")
	w.send(`{"id":2,"method":"tools/call","params":{"name":"die"}}` + "\n")
	_ = w.read()
	close(release)
	if err := <-failed; !reflect.DeepEqual(err, onceguard.NotExecuted(errGone)) {
		t.Errorf("got %v, want one that says that nothing was sent", err)
	}
	w.want(`{"jsonrpc":"2.0","id":1,"result":{}}`)
	w.end(3)
}

// The client's end is not the call's: the server lives until it has answered,
// and what it asks the client meanwhile is answered in its place.
func TestStdioClientLeaves(t *testing.T) {
	gate := newFakeGate()
	w := newWire(t, gate)
	line := `{"id":1,"method":"tools/call","params":{"name":"ask often"}}` + "\n"
	w.send(line)
	w.want(`{"id":1,"method":"roots/list"}`)
	_ = w.in.Close()
	w.want(echoed(line, "1"))
	gate.await(t, "settled")
	w.end(7)
}

// A client that reads no more does not keep outcomes from being stored.
func TestStdioClientReadsNoMore(t *testing.T) {
	gate := newFakeGate()
	inR, inW := io.Pipe()
	p := &Stdio{
		Gate: gate, Command: []string{os.Args[0]}, Env: append(os.Environ(), envServer+"=tools"), Stdin: inR, Stdout: deaf{}, Stderr: os.Stderr,
		Log: slog.New(slog.DiscardHandler),
	}
	ended := make(chan int, 1)
	go func() {
		status, _ := p.Run(context.Background())
		ended <- status
	}()
	for i := range 3 {
		if _, err := fmt.Fprintf(inW, `{"id":%d,"method":"tools/call","params":{"name":"pay"}}`+"\n", i); err != nil {
			t.Fatal(err)
		}
		gate.await(t, "settled")
	}
	_ = inW.Close()
	if status := <-ended; status != 7 {
		t.Errorf("ended with %d", status)
	}
	gate.quiet(t)
}

type deaf struct{}

// Write implements io.Writer.
func (deaf) Write([]byte) (int, error) { return 0, syscall.EPIPE }

// An answer that is too large to be kept reaches the client, and a note is
// recorded in its place.
func TestStdioLargeAnswer(t *testing.T) {
	gate := newFakeGate()
	var kept mcpcall.Reply
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		kept = gate.forward(ctx, c, up)
		return kept
	}
	w := newWire(t, gate)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"large"}}` + "\n")
	if got := w.read(); len(got) < 2<<20 || !strings.HasSuffix(got, `,"id":1}`) {
		t.Errorf("got %d bytes", len(got))
	}
	gate.await(t, "settled")
	gate.await(t, "delivered")
	if !strings.Contains(string(kept.Result), "was not kept") || !strings.Contains(string(kept.Result), `"isError":false`) {
		t.Errorf("kept %s", kept.Result)
	}
	w.send(`{"method":"after"}` + "\n")
	w.want(`{"method":"after"}`)
}

// SIGTERM waits for the guarded call, then the server gets it; others pass at
// once.
func TestStdioSignals(t *testing.T) {
	gate := newFakeGate()
	w := newWire(t, gate, "signals")
	w.want(`{"method":"ready"}`)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"hang"}}` + "\n")
	w.want(`{"method":"hanging","params":{"id":1}}`)
	w.signals <- syscall.SIGUSR1
	w.want(`{"method":"signal","params":"user defined signal 1"}`)
	w.signals <- syscall.SIGTERM
	for { // until the signal is known, calls are taken
		w.send(`{"id":2,"method":"tools/call","params":{"name":"refuse"}}` + "\n")
		if strings.Contains(w.read(), textDraining) {
			break
		}
	}
	w.send(`{"method":"go"}` + "\n")
	w.want(echoed(`{"id":1,"method":"tools/call","params":{"name":"hang"}}`+"\n", "1"))
	w.want(`{"method":"signal","params":"terminated"}`)
	w.end(42)
}

// A second signal is passed on at once.
func TestStdioSecondSignal(t *testing.T) {
	w := newWire(t, newFakeGate(), "signals")
	w.want(`{"method":"ready"}`)
	w.send(`{"id":1,"method":"tools/call","params":{"name":"hang"}}` + "\n")
	w.want(`{"method":"hanging","params":{"id":1}}`)
	w.signals <- syscall.SIGTERM
	w.signals <- syscall.SIGTERM
	w.want(`{"method":"signal","params":"terminated"}`)
	if got := w.read(); !strings.Contains(got, "may have happened") {
		t.Errorf("got %s", got)
	}
	w.end(42)
}

func TestStdioTasks(t *testing.T) {
	gate := newFakeGate()
	w := newWire(t, gate, "cat", "-")
	w.send(`{"id":1,"method":"tasks/get","params":{"taskId":"x"}}` + "\n")
	w.want(`{"id":1,"method":"tasks/get","params":{"taskId":"x"}}`)
	w.send(`{"id":1,"result":{"status":"completed"}}` + "\n") // cat is the server, too
	w.want(`{"id":1,"result":{"status":"completed"}}`)
	gate.await(t, `task tasks/get {"taskId":"x"} {"status":"completed"}`)
	for _, line := range []string{`[{"id":2,"method":"tasks/get","params":{}},{"id":3,"method":"tools/list"}]`, `[{"id":2,"result":{"a":1}}, {"id":3,"result":{"tools":[]}}]`} {
		w.send(line + "\n")
		w.want(line)
	}
	gate.await(t, `task tasks/get {} {"a":1}`)
}

func TestStdioCannotStart(t *testing.T) {
	p := &Stdio{Gate: newFakeGate(), Command: []string{"/no/such/command"}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Log: slog.New(slog.DiscardHandler)}
	_, err := p.Run(t.Context())
	var cannot *CannotStart
	if !errors.As(err, &cannot) || !cannot.NotFound() {
		t.Errorf("got %v", err)
	}
}

// The host's user is asked over the client's own channel, and the server sees
// nothing of it.
func TestStdioElicitation(t *testing.T) {
	for name, c := range map[string]struct {
		hello, answer string
		want          bool
	}{
		"yes":        {`{"elicitation":{}}`, `"result":{"action":"accept","content":{"repeat":true}}`, true},
		"no":         {`{"elicitation":{}}`, `"result":{"action":"accept","content":{"repeat":false}}`, false},
		"declined":   {`{"elicitation":{}}`, `"result":{"action":"decline"}`, false},
		"cancelled":  {`{"elicitation":{}}`, `"result":{"action":"cancel","content":{"repeat":true}}`, false},
		"error":      {`{"elicitation":{}}`, `"error":{"code":-32601,"message":"no"}`, false},
		"cannot ask": {`{"sampling":{}}`, ``, false},
	} {
		t.Run(name, func(t *testing.T) {
			gate := newFakeGate()
			gate.do = func(ctx context.Context, c mcpcall.Call, _ mcpcall.Upstream) mcpcall.Reply {
				yes, err := Elicit(ctx, c, mcpcall.Question{Message: "Do \"it\" once more?"})
				return mcpcall.Reply{Result: fmt.Appendf(nil, `{"yes":%t,"cannot":%t}`, yes, errors.Is(err, errCannotAsk)), Verdict: mcpcall.Repeat}
			}
			w := newWire(t, gate)
			hello := `{"id":0,"method":"initialize","params":{"capabilities":` + c.hello + `}}`
			w.send(hello + "\n")
			w.want(hello)
			w.send(`{"id":1,"method":"tools/call","params":{"name":"pay"}}` + "\n")
			if c.answer != "" {
				var asked struct {
					ID     string
					Method string
					Params struct{ Message string }
				}
				if line := w.read(); json.Unmarshal([]byte(line), &asked) != nil || asked.Method != "elicitation/create" || asked.Params.Message != `Do "it" once more?` {
					t.Fatalf("the client got %s", line)
				}
				w.send(`{"id":"` + asked.ID + `",` + c.answer + "}\n")
			}
			w.want(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"yes":%t,"cannot":%t}}`, c.want, c.answer == ""))
		})
	}
	if _, err := Elicit(t.Context(), mcpcall.Call{}, mcpcall.Question{}); !errors.Is(err, errCannotAsk) {
		t.Errorf("without a session: %v", err)
	}
}

// A call of which only a part reached the server is an unknown outcome; one of
// which nothing did was not sent.
func TestStdioHalfACall(t *testing.T) {
	for n, sent := range map[int]bool{0: false, 7: true} {
		m := mcpwire.Parse([]byte(`{"id":1,"method":"tools/call","params":{"name":"pay"}}`))
		s := &session{Stdio: &Stdio{Log: slog.New(slog.DiscardHandler)}, calls: map[string]*guardedCall{}, late: map[string]bool{}, toServer: writer{w: breaking(n)}}
		a := s.forward(t.Context(), "n1", &guardedCall{message: m, users: 1, cancel: func(error) {}, answer: make(chan answer, 1)}, m.Params)
		if told := reflect.TypeOf(a.err) == reflect.TypeOf(onceguard.NotExecuted(errGone)); told == sent {
			t.Errorf("after %d bytes: %v", n, a.err)
		}
	}
}

type breaking int

// Write implements io.Writer.
func (b breaking) Write([]byte) (int, error) { return int(b), syscall.EPIPE }
