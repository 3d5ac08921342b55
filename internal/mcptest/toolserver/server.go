// Package toolserver is an MCP server over stdio or streamable HTTP with tools
// that have effects: pay, send_mail, note, and read_balance, which only reads.
// Effects happen in a ledger, another process, which counts them. It speaks the
// revisions from 2025-03-26 to 2026-07-28 and misbehaves as a plan says.
//
// Frames are written by hand and not by an SDK, because SDKs do not misbehave:
// an answer carries members and spacing that no encoder would produce, which
// shows whether somebody on the way encoded it again.
package toolserver

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

// Config says what a tool server is.
type Config struct {
	Ledger string            // the ledger's address; required
	Plan   string            // file of the plan, read at every call; "" for none
	Trace  string            // file to append the trace to; "" for none
	Plain  bool              // no members that the protocol does not know: some clients refuse them
	Ready  func(addr string) // called by ServeHTTP once it listens
}

// server is what both transports share.
type server struct {
	config Config
	ledger *ledger.Client
	trace  *mcptest.Tracer
	done   context.Context // ends with the server

	mu        sync.Mutex
	calls     map[string]int    // by tool
	tasks     map[string]task   // by task ID
	redefined map[string]bool   // by tool
	listeners map[*outlet]bool  // who hears of list_changed
	running   map[string]func() // by raw JSON-RPC id, how to cancel it
}

// task is a call that was answered by a handle.
type task struct {
	call   call
	result json.RawMessage // nil until its effect happened
}

// outlet is where frames to one client go.
type outlet struct {
	mu    sync.Mutex
	write func(frame []byte) error
}

func (o *outlet) send(frame string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.write([]byte(frame))
}

func newServer(ctx context.Context, c Config) (*server, error) {
	trace, err := mcptest.OpenTrace(c.Trace)
	if err != nil {
		return nil, err
	}
	s := &server{
		config: c, ledger: ledger.NewClient(c.Ledger), trace: trace, done: ctx,
		calls: map[string]int{}, tasks: map[string]task{}, redefined: map[string]bool{},
		listeners: map[*outlet]bool{}, running: map[string]func(){},
	}
	s.note(mcptest.Line{What: mcptest.Started})
	return s, nil
}

// note writes a trace line. A server that cannot say what it does is of no use.
func (s *server) note(l mcptest.Line) {
	if err := s.trace.Write(l); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// frame is a JSON-RPC message as far as the server looks at it.
type frame struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	plain  bool
}

// answer returns a response around a result. Spacing and the unknown member are
// on purpose.
func (f frame) answer(result string) string {
	more := `,"x-served":9007199254740993`
	if f.plain {
		more = ""
	}
	return `{"jsonrpc":"2.0", "id": ` + string(f.ID) + `,"result":` + result + more + `}`
}

func (f frame) refuse(code int, text string) string {
	more := `,"x-more":1.50`
	if f.plain {
		more = ""
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0", "id": %s,"error":{"code":%d,"message":%q%s}}`, f.ID, code, text, more)
}

// modern says whether a request is of the revision 2026-07-28, which has no
// handshake: each request names its revision.
func modern(params json.RawMessage) bool {
	var p struct {
		Meta map[string]json.RawMessage `json:"_meta"`
	}
	_ = json.Unmarshal(params, &p)
	return strings.Contains(string(p.Meta["io.modelcontextprotocol/protocolVersion"]), "2026-")
}

// complete is what a result begins with in the request's revision.
func complete(params json.RawMessage) string {
	if modern(params) {
		return `{"resultType":"complete",`
	}
	return `{`
}

// plain answers every method that is no tools/call; "" for notifications.
func (s *server) plain(f frame) string {
	s.note(mcptest.Line{What: mcptest.Got, Method: f.Method, ID: f.ID, Params: f.Params})
	if f.Method == "" {
		return "" // a response, to a question that nobody asked
	}
	if len(f.ID) == 0 {
		if f.Method == "notifications/cancelled" {
			s.cancel(f)
		}
		return ""
	}
	const capabilities = `"capabilities":{"tools":{"listChanged":true},"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	const info = `{"name":"toolserver","version":"1.0.0"}`
	switch f.Method {
	case "initialize":
		var p struct {
			Version string `json:"protocolVersion"`
		}
		_ = json.Unmarshal(f.Params, &p)
		if p.Version > "2025-11-25" || p.Version < "2025-03-26" {
			p.Version = "2025-11-25"
		}
		return f.answer(`{"protocolVersion":"` + p.Version + `",` + capabilities + `,"serverInfo":` + info + `}`)
	case "server/discover":
		return f.answer(`{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],` + capabilities +
			`,"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":` + info + `}}`)
	case "ping":
		return f.answer(`{}`)
	case "x/echo":
		return f.answer(string(f.Params))
	case "tools/list":
		return f.answer(s.definitions(f.Params))
	case "tasks/get", "tasks/result":
		return s.taskState(f)
	case "tasks/cancel":
		return f.answer(complete(f.Params) + `"x":0}`)
	}
	return f.refuse(-32601, "no method "+f.Method)
}

// cancel does what a client asked for: it ends what runs under a request's ID.
func (s *server) cancel(f frame) {
	var p struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(f.Params, &p)
	s.mu.Lock()
	end := s.running[string(p.RequestID)]
	s.mu.Unlock()
	if end != nil {
		end()
	}
}
