package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/ledger"
)

// fileEnv makes this test binary a ledger on the named file.
const fileEnv = "ONCEGUARD_LEDGER_TEST_FILE"

func TestMain(m *testing.M) {
	file := os.Getenv(fileEnv)
	if file == "" {
		os.Exit(m.Run())
	}
	err := ledger.Run(context.Background(), ledger.Config{File: file, Ready: func(addr string) { fmt.Println(addr) }})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// testContext bounds a test; nothing here takes a fraction of it.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newFile(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "ledger.jsonl")
}

// serve runs a ledger in this process until stop or the end of the test.
func serve(t *testing.T, file string) (c *ledger.Client, addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- ledger.Run(ctx, ledger.Config{File: file, Ready: func(addr string) { ready <- addr }})
	}()
	ended := false
	stop = func() {
		cancel()
		if !ended {
			ended = true
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	select {
	case addr = <-ready:
	case err := <-done:
		ended = true
		t.Fatal(err)
	}
	return ledger.NewClient(addr), addr, stop
}

// start runs a ledger in a process of its own.
func start(t *testing.T, file string) (*ledger.Client, *exec.Cmd) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fileEnv+"="+file)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return ledger.NewClient(strings.TrimSpace(line)), cmd
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// verdict is what a client saw: "applied", "replayed", the code of an answer
// that is no success, or "no answer".
func verdict(a ledger.Answer, err error) string {
	var no *ledger.Error
	switch {
	case errors.As(err, &no):
		return fmt.Sprintf("%d %s", no.Status, no.Code)
	case err != nil:
		return "no answer"
	case a.Replayed:
		return "replayed"
	}
	return "applied"
}

// decisions returns the decision of every request in the history.
func decisions(ctx context.Context, t *testing.T, c *ledger.Client) []ledger.Decision {
	t.Helper()
	var got []ledger.Decision
	for _, r := range must(c.History(ctx))(t) {
		if r.Through == 0 {
			got = append(got, r.Decision)
		}
	}
	return got
}
