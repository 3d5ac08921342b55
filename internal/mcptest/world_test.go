//go:build linux

package mcptest_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

// Transports.
const (
	stdio = "stdio"
	httpT = "http"
)

var transports = []string{stdio, httpT}

// world is a client, a tool server and a ledger, each a process of its own, and
// between client and server the proxy, or nothing. What a world is made of is
// set before start.
type world struct {
	testing.TB
	transport string
	guarded   bool
	config    string // the policy file's text; "" for none
	flags     []string
	fault     string // failpoint rules for the proxies that start from now on
	plain     bool   // the server sends no members that the protocol does not know
	shipped   bool   // the proxy is the program as it is shipped

	ledger     *ledger.Client
	ledgerAddr string
	plan       string
	trace      string
	dir        string

	server, proxy, client *process
	serverAddr, proxyAddr string
	ids, pays             int // JSON-RPC ids, and calls of pay
}

func newWorld(t testing.TB, transport string, guarded bool) *world {
	t.Helper()
	w := &world{TB: t, transport: transport, guarded: guarded, dir: t.TempDir()}
	w.plan, w.trace = filepath.Join(w.dir, "plan.json"), filepath.Join(w.dir, "trace")
	l := start(t, nil, self(t), roleLedger, filepath.Join(w.dir, "ledger.jsonl"))
	w.ledgerAddr = l.first()
	w.ledger = ledger.NewClient(w.ledgerAddr)
	return w
}

// deadline bounds what a test asks of the ledger.
func (w *world) deadline() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.Cleanup(cancel)
	return ctx
}

// start starts whatever of the world does not run, and greets the server.
func (w *world) start() *world {
	w.Helper()
	w.startServers()
	if w.client == nil || w.client.over() {
		w.client = start(w, w.env(), w.clientCommand()...)
		w.pid() // it runs
		w.greet()
	}
	return w
}

// startServers starts what listens; over stdio nothing does.
func (w *world) startServers() {
	w.Helper()
	if w.transport == httpT {
		if w.server == nil || w.server.over() {
			w.server = start(w, nil, append(w.serverCommand(), "-http", orAnyPort(w.serverAddr))...)
			w.serverAddr = w.server.first()
		}
		if w.guarded && (w.proxy == nil || w.proxy.over()) {
			w.proxy = start(w, w.env(), w.proxyCommand("--listen", orAnyPort(w.proxyAddr), "--upstream", "http://"+w.serverAddr+"/mcp")...)
			w.proxyAddr = listening(w.proxy)
		}
	}
}

func orAnyPort(addr string) string {
	if addr == "" {
		return "127.0.0.1:0"
	}
	return addr
}

var listeningOn = regexp.MustCompile(`listening on http://([0-9.:]+)`)

// listening waits for the address on which a proxy says it listens.
func listening(p *process) string {
	p.t.Helper()
	p.until("the proxy to listen", func() bool { return listeningOn.MatchString(p.errors()) })
	return listeningOn.FindStringSubmatch(p.errors())[1]
}

func (w *world) env() []string {
	return []string{"ONCEGUARD_FAULT=" + w.fault, "XDG_STATE_HOME=" + w.dir}
}

func (w *world) serverCommand() []string {
	return []string{self(w), roleServer, "-ledger", w.ledgerAddr, "-plan", w.plan, "-trace", w.trace, fmt.Sprintf("-plain=%t", w.plain)}
}

// proxyCommand is the proxy's command line with what follows its usual flags.
func (w *world) proxyCommand(more ...string) []string {
	path := faultyPath(w)
	if w.shipped {
		path = onceguardPath(w)
	}
	command := []string{path, "mcp", "--store", storeIn(w, path, w.dir), "--scope", "test"}
	if w.config != "" {
		file := filepath.Join(w.dir, "tools.yaml")
		if err := os.WriteFile(file, []byte(w.config), 0o600); err != nil {
			w.Fatal(err)
		}
		command = append(command, "--config", file)
	}
	return append(append(command, w.flags...), more...)
}

// storeIn makes a store in a directory, unless it is there already, and returns
// its URL.
func storeIn(t testing.TB, path, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "receipts.db")
	if _, err := os.Stat(file); err != nil {
		if out, err := exec.Command(path, "store", "migrate", "--store", "sqlite:"+file).CombinedOutput(); err != nil {
			t.Fatalf("store migrate: %v\n%s", err, out)
		}
	}
	return "sqlite:" + file
}

func (w *world) clientCommand() []string {
	switch {
	case w.transport == httpT && w.guarded:
		return []string{self(w), roleClient, "http", "http://" + w.proxyAddr + "/mcp"}
	case w.transport == httpT:
		return []string{self(w), roleClient, "http", "http://" + w.serverAddr + "/mcp"}
	case w.guarded:
		return append([]string{self(w), roleClient, "stdio"}, w.proxyCommand(append([]string{"--"}, w.serverCommand()...)...)...)
	}
	return append([]string{self(w), roleClient, "stdio"}, w.serverCommand()...)
}

// greet is the handshake of the revision 2025-11-25, which stdio clients speak.
// Over HTTP the world speaks 2026-07-28, which has none.
func (w *world) greet() {
	w.Helper()
	if w.transport == httpT {
		return
	}
	w.client.send(`{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcptest","version":"1"}}}`)
	if r := w.answer(`"hello"`); !strings.Contains(r.raw, "serverInfo") {
		w.Fatalf("initialize: %s\n%s", r.raw, w.client.errors())
	}
	w.client.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
}

// pid is the process ID of what the client started: over stdio the proxy, or the
// server where there is none.
func (w *world) pid() int {
	w.Helper()
	var l clientLine
	w.client.until("the client to start", func() bool { return w.find(&l, func() bool { return l.Client == saysStarted }) })
	return l.Pid
}

// victims are the processes that a test may kill.
const (
	killsProxy  = "proxy"
	killsServer = "server"
	killsClient = "client"
)

func (w *world) pidOf(victim string) int {
	w.Helper()
	switch {
	case victim == killsClient:
		return w.client.cmd.Process.Pid
	case victim == killsServer:
		return w.serverPid()
	case w.transport == httpT:
		return w.proxy.cmd.Process.Pid
	}
	return w.pid()
}

// kill ends a process by SIGKILL. Over stdio the processes below a dead one end
// by themselves, as does the client whose server is gone.
func (w *world) kill(victim string) {
	w.Helper()
	pid := w.pidOf(victim)
	killPid(w, pid)
	gone(w, pid)
}

// settleDown waits until nothing of a stdio world runs any more, or until the
// killed process of an HTTP world has been noticed.
func (w *world) settleDown(victim string, pids ...int) {
	w.Helper()
	if w.transport == stdio {
		_ = w.client.stdin.Close()
		w.client.wait()
		for _, pid := range pids {
			gone(w, pid)
		}
		return
	}
	for _, p := range []*process{w.client, w.server, w.proxy} {
		if p != nil && p.cmd.Process.Pid == w.pidIfKnown(victim) {
			p.wait()
		}
	}
}

func (w *world) pidIfKnown(victim string) int {
	switch victim {
	case killsClient:
		return w.client.cmd.Process.Pid
	case killsServer:
		return w.server.cmd.Process.Pid
	}
	return w.proxy.cmd.Process.Pid
}

// lines reads the server's trace.
func (w *world) lines() []mcptest.Line {
	w.Helper()
	lines, err := mcptest.ReadTrace(w.trace)
	if err != nil {
		w.Fatal(err)
	}
	return lines
}

func (w *world) serverPid() int {
	w.Helper()
	pid := 0
	for _, l := range w.lines() {
		if l.What == mcptest.Started {
			pid = l.Pid
		}
	}
	if pid == 0 {
		w.Fatal("the server has not started")
	}
	return pid
}

// traced counts lines of a kind.
func (w *world) traced(what string) int {
	w.Helper()
	n := 0
	for _, l := range w.lines() {
		if l.What == what {
			n++
		}
	}
	return n
}

// waitTraced waits until the server has written n lines of a kind.
func (w *world) waitTraced(what string, n int) {
	w.Helper()
	poll(w, fmt.Sprintf("the server to write %q %d times", what, n), func() bool { return w.traced(what) >= n })
}

// modes sets the tool server's plan.
func (w *world) modes(p mcptest.Plan) {
	w.Helper()
	if err := mcptest.WritePlan(w.plan, p); err != nil {
		w.Fatal(err)
	}
}

// ledgerModes sets how the ledger treats the requests of an op.
func (w *world) ledgerModes(op string, modes ...ledger.Mode) {
	w.Helper()
	if err := w.ledger.Modes(w.deadline(), op, modes...); err != nil {
		w.Fatal(err)
	}
}

// effects fails the test unless an op has n effects.
func (w *world) effects(op string, n int) {
	w.Helper()
	if got := w.count(op); got != n {
		w.Errorf("%d effects of %q, want %d", got, op, n)
	}
}

func (w *world) count(op string) int {
	w.Helper()
	n, err := w.ledger.Count(w.deadline(), op)
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// waitCount waits until an op has n effects.
func (w *world) waitDecided(op string, n int) {
	w.Helper()
	if err := w.ledger.WaitDecided(w.deadline(), op, n); err != nil {
		w.Fatal(err)
	}
}

func (w *world) waitArrived(op string, n int) {
	w.Helper()
	if err := w.ledger.WaitArrived(w.deadline(), op, n); err != nil {
		w.Fatal(err)
	}
}

func (w *world) release(op string) {
	w.Helper()
	if err := w.ledger.Release(w.deadline(), op); err != nil {
		w.Fatal(err)
	}
}

// soon is for what a test must see not to happen: long enough for everything
// that is already on its way.
const soon = 150 * time.Millisecond
