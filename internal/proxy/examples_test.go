package proxy_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
)

// clients are the worked examples: programs that know nothing of the guard but
// its URL.
var clients = []struct {
	name    string
	needs   []string
	command []string
}{
	{"curl", []string{"sh", "curl"}, []string{"sh", "../../examples/proxy/refund.sh"}},
	{"python", []string{"python3"}, []string{"python3", "../../examples/proxy/refund.py"}},
	{"node", []string{"node"}, []string{"node", "../../examples/proxy/refund.mjs"}},
}

// need skips loudly at home, and fails where everything must run.
func need(t *testing.T, programs []string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed, and CI runs every example", p)
			}
			t.Skipf("SKIPPED: %s is not installed, so this example was not run", p)
		}
	}
}

// example is a run of a client.
type example struct {
	t      *testing.T
	cmd    *exec.Cmd
	output strings.Builder
}

func runExample(t *testing.T, command []string, addr, order string) *example {
	t.Helper()
	e := &example{t: t, cmd: exec.CommandContext(t.Context(), command[0], append(command[1:len(command):len(command)], "http://"+addr+"/payments/effects", order)...)}
	e.cmd.Stdout, e.cmd.Stderr = &e.output, &e.output
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return e
}

// ends fails the test unless the client exits with the status and says text.
func (e *example) ends(status int, text string) {
	e.t.Helper()
	err := e.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		e.t.Fatal(err)
	}
	if got := e.cmd.ProcessState.ExitCode(); got != status || !strings.Contains(e.output.String(), text) {
		e.t.Errorf("exit status %d, want %d with %q:\n%s", got, status, text, e.output.String())
	}
}

func TestExamples(t *testing.T) {
	for _, client := range clients {
		t.Run(client.name, func(t *testing.T) {
			need(t, client.needs)
			t.Run("plain", func(t *testing.T) {
				p := newProvider(t)
				proxy := p.start(t, anyPort)
				for range 2 {
					runExample(t, client.command, proxy.addr, "order-1").ends(0, "eff_1")
				}
				p.effects(t, "order-1", 1)
			})
			t.Run("killed with the effect under way", func(t *testing.T) { killedUnderWay(t, client.command) })
			t.Run("killed before the effect", func(t *testing.T) { killedBefore(t, client.command) })
			t.Run("answer dropped by the provider", func(t *testing.T) {
				p := newProvider(t)
				if err := p.Modes(t.Context(), "order-1", ledger.Mode{SwallowAnswer: true}, ledger.Mode{}); err != nil {
					t.Fatal(err)
				}
				runExample(t, client.command, p.start(t, anyPort).addr, "order-1").ends(3, "outcome-unknown")
				p.effects(t, "order-1", 1)
			})
			t.Run("answers dropped on the way to the client", func(t *testing.T) {
				p := newProvider(t)
				cut := newCut(t, p.start(t, anyPort).addr, 3)
				runExample(t, client.command, cut.addr, "order-1").ends(0, "eff_1")
				if cut.dropped.Load() != 3 {
					t.Errorf("%d answers were dropped, want 3", cut.dropped.Load())
				}
				p.effects(t, "order-1", 1)
			})
			t.Run("refused", func(t *testing.T) {
				p := newProvider(t)
				if err := p.Modes(t.Context(), "order-1", ledger.Mode{Refuse: "no such card"}); err != nil {
					t.Fatal(err)
				}
				runExample(t, client.command, p.start(t, anyPort).addr, "order-1").ends(1, "no such card")
				p.effects(t, "order-1", 0)
			})
		})
	}
}

// killedUnderWay: SIGKILL while the provider has acted and not answered, twice;
// the client goes on with the same key and hears that nobody knows.
func killedUnderWay(t *testing.T, command []string) {
	p := newProvider(t)
	if err := p.Modes(t.Context(), "order-1", ledger.Mode{HoldAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	proxy := p.start(t, anyPort)
	run := runExample(t, command, proxy.addr, "order-1")
	if err := p.WaitDecided(t.Context(), "order-1", 1); err != nil {
		t.Fatal(err)
	}
	proxy.kill()
	second := p.start(t, proxy.addr)
	run.ends(3, "outcome-unknown")
	second.kill()
	p.start(t, proxy.addr)
	runExample(t, command, proxy.addr, "order-1").ends(3, "outcome-unknown")
	p.effects(t, "order-1", 1)
	runExample(t, command, proxy.addr, "order-2").ends(0, "eff_2")
	p.effects(t, "order-2", 1)
}

// killedBefore: the proxy is gone when the client starts, and comes back.
func killedBefore(t *testing.T, command []string) {
	p := newProvider(t)
	proxy := p.start(t, anyPort)
	proxy.kill()
	run := runExample(t, command, proxy.addr, "order-1")
	p.start(t, proxy.addr)
	run.ends(0, "eff_1")
	p.effects(t, "order-1", 1)
}

// cut passes connections on, and drops the first answers after they came.
type cut struct {
	addr    string
	dropped atomic.Int64
}

func newCut(t *testing.T, to string, drops int64) *cut {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	c := &cut{addr: ln.Addr().String()}
	go func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			go c.relay(near, to, drops)
		}
	}()
	return c
}

func (c *cut) relay(near net.Conn, to string, drops int64) {
	defer func() { _ = near.Close() }()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	go func() { _, _ = io.Copy(far, near) }()
	first := make([]byte, 1)
	if _, err := io.ReadFull(far, first); err != nil {
		return
	}
	if c.dropped.Load() < drops {
		c.dropped.Add(1) // one client at a time
		return
	}
	_, _ = near.Write(first)
	_, _ = io.Copy(near, far)
}

// TestExampleFiles: each client is run, and none is left out of this test.
func TestExampleFiles(t *testing.T) {
	files, err := filepath.Glob("../../examples/proxy/refund.*")
	if err != nil || len(files) != len(clients) {
		t.Errorf("%q: %d clients are run; %v", files, len(clients), err)
	}
}
