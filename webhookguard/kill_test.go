package webhookguard_test

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
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/webhookguard"
)

// The kill test runs the receiver and the ledger as processes of their own: this
// test binary, told its role by the environment.
const (
	roleEnv   = "ONCEGUARD_WEBHOOKGUARD_TEST_ROLE" // "receiver" or "ledger"
	fileEnv   = "ONCEGUARD_WEBHOOKGUARD_TEST_FILE"
	ledgerEnv = "ONCEGUARD_WEBHOOKGUARD_TEST_LEDGER"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // standard input ends when the test does
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := fmt.Errorf("no role %q", role)
	switch role {
	case "ledger":
		err = ledger.Run(ctx, ledger.Config{File: os.Getenv(fileEnv), Ready: func(a string) { fmt.Println(a) }})
	case "receiver":
		err = receive(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func receive(ctx context.Context) error {
	store, err := sqlitestore.Open(ctx, os.Getenv(fileEnv), nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		return err
	}
	world := ledger.NewClient(os.Getenv(ledgerEnv))
	hook, err := webhookguard.New(guard, webhookguard.Options{
		Endpoint: "billing", Source: webhookguard.Stripe("s"), Logger: quiet,
		Handle: func(ctx context.Context, e webhookguard.Event) error {
			_, err := world.Apply(ctx, ledger.Request{Op: e.ID})
			return err
		},
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	srv := &http.Server{Handler: hook, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// start runs this binary in a role, and returns its address and its death.
func start(t *testing.T, role string, env ...string) (addr string, kill func()) {
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
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(func() {
		_ = in.Close()
		kill()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%s did not start: %v", role, err)
	}
	return strings.TrimSpace(line), kill
}

// deliverTo sends an event as its sender does, signed now; 0 is no answer.
func deliverTo(t *testing.T, addr, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = sign("stripe", "s", "", body, time.Now())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestKill: the receiver is killed while it handles an event whose effect took
// place. Its sender delivers it again to the next process, and again.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	world, _ := start(t, "ledger", fileEnv+"="+filepath.Join(dir, "ledger.jsonl"))
	counts := ledger.NewClient(world)
	if err := counts.Modes(t.Context(), "evt_1", ledger.Mode{HoldAnswer: true}, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	env := []string{fileEnv + "=" + filepath.Join(dir, "receipts.db"), ledgerEnv + "=" + world}
	addr, kill := start(t, "receiver", env...)
	first := make(chan int)
	go func() { first <- deliverTo(t, addr, event) }()
	if err := counts.WaitDecided(t.Context(), "evt_1", 1); err != nil {
		t.Fatal(err)
	}
	kill()
	if status := <-first; status != 0 {
		t.Errorf("a killed receiver answered %d", status)
	}
	addr, _ = start(t, "receiver", env...)
	for range 3 {
		if status := deliverTo(t, addr, event); status != http.StatusServiceUnavailable {
			t.Errorf("status %d: the event is neither handled nor surely not", status)
		}
	}
	other := strings.Replace(event, "evt_1", "evt_2", 1)
	for range 2 {
		if status := deliverTo(t, addr, other); status != http.StatusOK {
			t.Errorf("another event got %d", status)
		}
	}
	for _, id := range []string{"evt_1", "evt_2"} {
		if n, err := counts.Count(t.Context(), id); err != nil || n != 1 {
			t.Errorf("%s: %d effects, want 1: %v", id, n, err)
		}
	}
}
