package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal opens a pseudo-terminal: what a person holds, and what programs get.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// TestTerminalInterrupt presses ^C: the terminal sends the signal to the whole
// group, so the command must have it once and not once more from onceguard,
// which stays to record the outcome.
func TestTerminalInterrupt(t *testing.T) {
	master, slave := terminal(t)
	dir := t.TempDir()
	cmd := exec.Command("onceguard", "run", "-q", "--store", "sqlite:r.db", "--action", "a", "--key", "k=1", "--status-file", "v.json",
		"--", "provider", "-trap", "got", "-hang", "h")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LEDGER="+filepath.Join(dir, "ledger"))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	until(t, dir, "h.started")
	if _, err := master.Write([]byte{3}); err != nil { // ^C
		t.Fatal(err)
	}
	until(t, dir, "got.interrupt")
	// A second signal that only onceguard gets is passed on, and comes after
	// whatever the first one caused.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, dir, "got.terminated")
	if err := os.WriteFile(filepath.Join(dir, "h.go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("onceguard: %v", err)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Fatal("onceguard did not end")
	}
	got, err := os.ReadFile(filepath.Join(dir, "got"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(got), "interrupt"); n != 1 {
		t.Errorf("the command had the interrupt %d times, want once:\n%s", n, got)
	}
}

func until(t *testing.T, dir, file string) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return
		}
	}
	t.Fatalf("waited %s for %s", patience, file)
}
