package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
)

// provider is a ledger in a process of its own, and a configuration for it.
type provider struct {
	*ledger.Client
	process *process
	dir     string
	config  string
	store   string
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	dir := t.TempDir()
	p := &provider{dir: dir, config: filepath.Join(dir, "proxy.yaml"), store: filepath.Join(dir, "receipts.db")}
	p.process, p.Client = startLedger(t, filepath.Join(dir, "ledger.jsonl"))
	// The example that the documentation shows, with another address.
	text, err := os.ReadFile("../../examples/proxy/proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	own := strings.Replace(string(text), "http://127.0.0.1:7080", "http://"+p.process.addr, 1)
	if own == string(text) {
		t.Fatal("examples/proxy/proxy.yaml has another base_url than this test knows")
	}
	if err := os.WriteFile(p.config, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *provider) start(t *testing.T, listen string, more ...string) *process {
	t.Helper()
	return startProxy(t, p.config, p.store, listen, more...)
}

// effects fails the test unless op has n effects.
func (p *provider) effects(t *testing.T, op string, n int) {
	t.Helper()
	if got, err := p.Count(context.WithoutCancel(t.Context()), op); err != nil || got != n {
		t.Errorf("%d effects of %s, want %d: %v", got, op, n, err)
	}
}

const anyPort = "127.0.0.1:0"

func refund(t *testing.T, addr, op string) reply {
	t.Helper()
	return ask(t, "POST", "http://"+addr+"/payments/effects", `{"op":"`+op+`"}`, "Idempotency-Key: "+op)
}

// background sends a refund and gives what came of it.
func background(t *testing.T, addr, op string) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		got, err := try(t.Context(), "POST", "http://"+addr+"/payments/effects", `{"op":"`+op+`"}`, "Idempotency-Key: "+op)
		if err == nil && got.status != http.StatusCreated {
			err = fmt.Errorf("answer %d %s", got.status, got.body)
		}
		done <- err
	}()
	return done
}

// TestKilledWhileForwarding: SIGKILL between the effect and its answer.
func TestKilledWhileForwarding(t *testing.T) {
	p := newProvider(t)
	if err := p.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	proxy := p.start(t, anyPort)
	first := background(t, proxy.addr, "order-7")
	if err := p.WaitDecided(t.Context(), "order-7", 1); err != nil {
		t.Fatal(err)
	}
	proxy.kill()
	if err := <-first; err == nil {
		t.Error("the caller of a killed proxy got an answer")
	}
	proxy = p.start(t, proxy.addr)
	for range 3 {
		refund(t, proxy.addr, "order-7").is(t, 409, "outcome-unknown")
	}
	p.effects(t, "order-7", 1)
	refund(t, proxy.addr, "order-8").is(t, 201, "order-8")
	p.effects(t, "order-8", 1)
}

// TestKilledAfterAnswer: the receipt outlives the process.
func TestKilledAfterAnswer(t *testing.T) {
	p := newProvider(t)
	proxy := p.start(t, anyPort)
	first := refund(t, proxy.addr, "order-7")
	proxy.kill()
	again := refund(t, p.start(t, proxy.addr).addr, "order-7")
	if first.status != 201 || again.status != 201 || first.body != again.body || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("first %d %q, again %d %q %v", first.status, first.body, again.status, again.body, again.header)
	}
	p.effects(t, "order-7", 1)
}

// TestAnswerDropped: the provider acted and closed the connection.
func TestAnswerDropped(t *testing.T) {
	p := newProvider(t)
	if err := p.Modes(t.Context(), "order-7", ledger.Mode{SwallowAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	proxy := p.start(t, anyPort)
	refund(t, proxy.addr, "order-7").is(t, 500, "outcome-unknown")
	refund(t, proxy.addr, "order-7").is(t, 409, "outcome-unknown")
	p.effects(t, "order-7", 1)
}

// TestTwoProxiesOneStore: duplicates through both at once are one effect, and
// all callers get its answer.
func TestTwoProxiesOneStore(t *testing.T) {
	p := newProvider(t)
	if err := p.Modes(t.Context(), "order-7", ledger.Mode{Hold: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	proxies := []*process{p.start(t, anyPort), p.start(t, anyPort)}
	replies := make([]reply, 8)
	errs := make([]error, len(replies))
	var wg sync.WaitGroup
	for i := range replies {
		wg.Go(func() {
			replies[i], errs[i] = try(t.Context(), "POST", "http://"+proxies[i%2].addr+"/payments/effects", `{"op":"order-7"}`, "Idempotency-Key: order-7")
		})
	}
	if err := p.WaitArrived(t.Context(), "order-7", 1); err != nil {
		t.Fatal(err)
	}
	if err := p.Release(t.Context(), "order-7"); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	firsts := 0
	for i, r := range replies {
		if errs[i] != nil || r.status != 201 || r.body != replies[0].body {
			t.Errorf("caller %d: %d %q %v", i, r.status, r.body, errs[i])
		}
		if r.header.Get("Idempotent-Replayed") == "" {
			firsts++
		}
	}
	if firsts != 1 {
		t.Errorf("%d answers are marked as the first", firsts)
	}
	p.effects(t, "order-7", 1)
}

// TestTerminated: SIGTERM lets running effects end and their callers hear of it.
func TestTerminated(t *testing.T) {
	p := newProvider(t)
	if err := p.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	proxy := p.start(t, anyPort)
	first := background(t, proxy.addr, "order-7")
	if err := p.WaitDecided(t.Context(), "order-7", 1); err != nil {
		t.Fatal(err)
	}
	proxy.terminate()
	proxy.closed()
	if err := p.Release(t.Context(), "order-7"); err != nil {
		t.Fatal(err)
	}
	if err := <-first; err != nil {
		t.Errorf("the caller of a draining proxy: %v", err)
	}
	if status := proxy.end(); status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	got := refund(t, p.start(t, anyPort).addr, "order-7")
	if got.status != 201 || got.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("the retry got %d %s", got.status, got.body)
	}
	p.effects(t, "order-7", 1)
}

// TestDrainLimit: what does not end in time is said, and stays uncertain.
func TestDrainLimit(t *testing.T) {
	p := newProvider(t)
	if err := p.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	proxy := p.start(t, anyPort, "--drain", "1ms")
	first := background(t, proxy.addr, "order-7")
	if err := p.WaitDecided(t.Context(), "order-7", 1); err != nil {
		t.Fatal(err)
	}
	proxy.terminate()
	<-first
	if status := proxy.end(); status != 1 || !strings.Contains(proxy.log.String(), "may have happened") {
		t.Errorf("exit status %d, log:\n%s", status, proxy.log.String())
	}
	refund(t, p.start(t, anyPort).addr, "order-7").is(t, 409, "outcome-unknown")
	p.effects(t, "order-7", 1)
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	good, bad := "../../examples/proxy/proxy.yaml", filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("upstreams:\n  - nam: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{"lease.yaml": "lease: 1s", "cookie.yaml": "store_headers: [Set-Cookie]"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(string(text)+"        "+line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		args   []string
		status int
		text   string
	}{
		{"check", []string{"--config", good, "--check"}, 0, "POST /effects: guarded as refund.create, at-most-once"},
		{"bad configuration", []string{"--config", bad, "--check"}, 64, "line 2: unknown key"},
		{"what a guard refuses", []string{"--config", filepath.Join(dir, "lease.yaml"), "--check"}, 64, "it must be at least 10s"},
		{"what is never stored", []string{"--config", filepath.Join(dir, "cookie.yaml"), "--check"}, 64, "are never stored"},
		{"every address", []string{"--config", good, "--listen", "0.0.0.0:0"}, 64, "--listen-anywhere"},
		{"no host", []string{"--config", good, "--listen", ":7070"}, 64, "--listen-anywhere"},
		{"admin for all", []string{"--config", good, "--admin", "[::]:0"}, 64, "--listen-anywhere"},
		{"no store", []string{"--config", good, "--listen", anyPort, "--store", "sqlite:" + filepath.Join(dir, "none.db")}, 69, "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, cmd := spawn(t, "onceguard", nil, append([]string{"proxy"}, tt.args...)...)
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.status || !strings.Contains(string(out), tt.text) {
				t.Errorf("exit status %d, want %d with %q:\n%s", got, tt.status, tt.text, out)
			}
		})
	}
}

func TestHealth(t *testing.T) {
	p := newProvider(t)
	proxy := p.start(t, anyPort, "--admin", anyPort)
	_, after, ok := strings.Cut(proxy.log.String(), "health on http://")
	if !ok {
		t.Fatalf("no admin address in %q", proxy.log.String())
	}
	addr, _, _ := strings.Cut(after, "/")
	ask(t, "GET", "http://"+addr+"/-/health", "").is(t, 200, `"ok"`)
	ask(t, "GET", "http://"+proxy.addr+"/-/health", "").is(t, 404, "proxy-no-upstream")
}
