package httpguard_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/sqlitestore"
)

// The kill tests run the API and the ledger as processes of their own: this test
// binary, told its role by the environment.
const (
	roleEnv   = "ONCEGUARD_HTTPGUARD_TEST_ROLE" // "api" or "ledger"
	fileEnv   = "ONCEGUARD_HTTPGUARD_TEST_FILE"
	ledgerEnv = "ONCEGUARD_HTTPGUARD_TEST_LEDGER"
)

// playRole serves until standard input ends, so that nothing is left over.
func playRole(role string) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var err error
	switch role {
	case "ledger":
		err = ledger.Run(ctx, ledger.Config{File: os.Getenv(fileEnv), Ready: func(a string) { fmt.Println(a) }})
	case "api":
		err = serveAPI(ctx)
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveAPI(ctx context.Context) error {
	store, err := sqlitestore.Open(ctx, os.Getenv(fileEnv), nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		return err
	}
	provider := ledger.NewClient(os.Getenv(ledgerEnv))
	m, err := httpguard.New(guard, httpguard.Options{Action: "refund.create", Scope: httpguard.SingleTenant})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		effect, err := provider.Apply(r.Context(), ledger.Request{Op: "order-7"})
		if err != nil {
			http.Error(rw, "no answer", http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(rw, effect.ID)
	}))}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// process is this binary in a role.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	addr string
}

func start(t *testing.T, role string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role), env...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd}
	t.Cleanup(func() {
		_ = in.Close()
		p.kill()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s did not start: %v", role, err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// kill is SIGKILL: nothing of the process runs any more.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestKill: the API is killed while its handler waits for the provider, whose
// effect took place. It starts again on the same store, and the client retries.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	world := start(t, "ledger", fileEnv+"="+filepath.Join(dir, "ledger.jsonl"))
	counts := ledger.NewClient(world.addr)
	if err := counts.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	env := []string{fileEnv + "=" + filepath.Join(dir, "receipts.db"), ledgerEnv + "=" + world.addr}
	api := start(t, "api", env...)
	conv := &conversation{t: t, addr: api.addr}
	first := conv.send("", "POST /", refundBody, "Idempotency-Key: refund-7")
	if err := counts.WaitDecided(t.Context(), "order-7", 1); err != nil {
		t.Fatal(err)
	}
	api.kill()
	first.hangUp()
	conv.addr = start(t, "api", env...).addr
	for range 3 {
		got := conv.ask("", "POST /", refundBody, "Idempotency-Key: refund-7")
		if got.status != http.StatusConflict || !strings.Contains(got.body, "outcome-unknown") {
			t.Errorf("the retry got %d %s", got.status, got.body)
		}
	}
	if n, err := counts.Count(t.Context(), "order-7"); err != nil || n != 1 {
		t.Errorf("%d effects, want 1: %v", n, err)
	}
	if got := conv.ask("", "POST /", refundBody, "Idempotency-Key: another"); got.status != http.StatusOK {
		t.Errorf("another key got %d %s", got.status, got.body)
	}
}

// TestKillAfterReceipt: the API is killed when the receipt is stored and the
// client has not read the answer. The retry collects it.
func TestKillAfterReceipt(t *testing.T) {
	dir := t.TempDir()
	world := start(t, "ledger", fileEnv+"="+filepath.Join(dir, "ledger.jsonl"))
	env := []string{fileEnv + "=" + filepath.Join(dir, "receipts.db"), ledgerEnv + "=" + world.addr}
	api := start(t, "api", env...)
	conv := &conversation{t: t, addr: api.addr}
	first := conv.ask("", "POST /", refundBody, "Idempotency-Key: refund-7")
	api.kill()
	conv.addr = start(t, "api", env...).addr
	again := conv.ask("", "POST /", refundBody, "Idempotency-Key: refund-7")
	if first.status != 200 || again.status != 200 || again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("first %+v, retry %+v", first, again)
	}
	if n, err := ledger.NewClient(world.addr).Count(t.Context(), "order-7"); err != nil || n != 1 {
		t.Errorf("%d effects, want 1: %v", n, err)
	}
}
