package mcpguard_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/mcpguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

// Variables that make the test binary a server on its pipes.
const (
	envDir = "MCPGUARD_TEST_DIR" // where its store is, and the effects are counted
	envDie = "MCPGUARD_TEST_DIE" // "before" or "after" the effect
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		if err := serveAndDie(context.Background(), dir, os.Getenv(envDie)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serveAndDie(ctx context.Context, dir, when string) error {
	store, err := sqlitestore.Open(ctx, filepath.Join(dir, "receipts.db"), nil)
	if err != nil {
		return err
	}
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		return err
	}
	m, err := mcpguard.Receiving(ctx, guard, mcpguard.Options{Server: "shop", Scope: mcpguard.SingleTenant, Log: quiet})
	if err != nil {
		return err
	}
	die := func() {
		if p, err := os.FindProcess(os.Getpid()); err == nil {
			_ = p.Kill()
		}
		select {}
	}
	s := mcp.NewServer(&mcp.Implementation{Name: "shop", Version: "1"}, &mcp.ServerOptions{Logger: quiet})
	s.AddReceivingMiddleware(m.Wrap)
	mcp.AddTool(s, &mcp.Tool{Name: "pay"}, func(_ context.Context, _ *mcp.CallToolRequest, in order) (*mcp.CallToolResult, paid, error) {
		if when == "before" {
			die()
		}
		f, err := os.OpenFile(filepath.Join(dir, "effects"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, paid{}, err
		}
		_, _ = f.WriteString("paid\n")
		_ = f.Close()
		if when == "after" {
			die()
		}
		return nil, paid{Receipt: "r-" + in.Order, Amount: in.Amount}, nil
	})
	err = s.Run(ctx, &mcp.StdioTransport{})
	_ = m.Close(ctx)
	_ = guard.Close(ctx)
	return err
}

// TestKilled: a server that is killed around the effect never has it twice, and
// says that nobody knows; one that had answered gives the same answer.
func TestKilled(t *testing.T) {
	for _, tc := range []struct {
		when, verdict string
		effects       int
	}{{"before", "uncertain", 0}, {"after", "uncertain", 1}, {"", "", 1}} {
		t.Run("killed "+tc.when, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			connect := func(die string) *mcp.ClientSession {
				cmd := exec.CommandContext(w.ctx, os.Args[0])
				cmd.Env = append(os.Environ(), envDir+"="+dir, envDie+"="+die, "GORACE=atexit_sleep_ms=0") // it sleeps a second otherwise
				said := new(strings.Builder)
				cmd.Stderr = said
				t.Cleanup(func() {
					if t.Failed() {
						t.Log(said)
					}
				})
				return w.dial(&mcp.CommandTransport{Command: cmd})
			}
			call := with(pay("A-1", 5), mcp.Meta{"callId": "c"})
			first, err := connect(tc.when).CallTool(w.ctx, call)
			if (err != nil) != (tc.when != "") {
				t.Fatalf("the first call: %v, %v", first, err)
			}
			for range 2 {
				again := w.call(connect(""), call)
				w.expect(again, tc.verdict)
				if err == nil && encode(t, again) != encode(t, first) {
					t.Errorf("first %s\nthen  %s", encode(t, first), encode(t, again))
				}
			}
			done, err := os.ReadFile(filepath.Join(dir, "effects"))
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if n := strings.Count(string(done), "paid"); n != tc.effects {
				t.Errorf("%d effects, want %d", n, tc.effects)
			}
		})
	}
}
