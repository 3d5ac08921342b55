//go:build linux

package crashtest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/ledger"
)

// books is a ledger in a process of its own, which tests may kill and start
// again at the same address.
type books struct {
	*ledger.Client
	addr, file string
	cmd        *exec.Cmd
	stdin      io.Closer

	mu    sync.Mutex
	usual map[string]ledger.Mode // by op: what a ledger that is started again goes on with
}

func newBooks(t testing.TB) *books {
	t.Helper()
	notShort(t)
	b := &books{file: filepath.Join(t.TempDir(), "ledger.jsonl"), usual: map[string]ledger.Mode{}}
	b.start(t)
	t.Cleanup(b.end)
	return b
}

func (b *books) start(t testing.TB) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	usual, err := json.Marshal(b.usual)
	b.mu.Unlock()
	if err == nil {
		err = os.WriteFile(b.file+".modes", usual, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.cmd = exec.Command(exe)
	b.cmd.Env = append(os.Environ(), ledgerFile+"="+b.file, ledgerAddr+"="+b.addr, ledgerModes+"="+b.file+".modes")
	b.cmd.Stderr = os.Stderr
	if b.stdin, err = b.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the ledger does not start: %v", err)
	}
	b.addr = strings.TrimSpace(line)
	b.Client = ledger.NewClient(b.addr)
}

// end kills the ledger: what it said is in its file.
func (b *books) end() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	_ = b.stdin.Close()
}

func (b *books) modes(t testing.TB, op string, modes ...ledger.Mode) {
	t.Helper()
	if err := b.Modes(limit(t), op, modes...); err != nil {
		t.Fatal(err)
	}
	if len(modes) > 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.usual[op] = modes[len(modes)-1]
	}
}

func (b *books) release(t testing.TB, op string) {
	t.Helper()
	if err := b.Release(limit(t), op); err != nil {
		t.Fatal(err)
	}
}

func (b *books) arrived(t testing.TB, op string, n int) {
	t.Helper()
	if err := b.WaitArrived(limit(t), op, n); err != nil {
		t.Fatalf("waiting for request %d of %s: %v", n, op, err)
	}
}

func (b *books) decided(t testing.TB, op string, n int) {
	t.Helper()
	if err := b.WaitDecided(limit(t), op, n); err != nil {
		t.Fatalf("waiting for decision %d of %s: %v", n, op, err)
	}
}

// effects returns the IDs of the applied effects of op.
func (b *books) effects(t testing.TB, op string) []string {
	t.Helper()
	list, err := b.Effects(limit(t), op)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range list {
		ids = append(ids, e.ID)
	}
	return ids
}

// limit bounds one step of a test; nothing here takes a fraction of it.
func limit(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

const patience = 30 * time.Second
