package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Mode is how [Cluster.Stop] stops a server.
type Mode int

const (
	// Fast rolls back open transactions, disconnects everybody, and writes a checkpoint.
	Fast Mode = iota
	// Smart waits until every client has left by itself.
	Smart
	// Immediate drops everything: the next start recovers from the log.
	Immediate
)

func (m Mode) signal() syscall.Signal {
	switch m {
	case Smart:
		return syscall.SIGTERM
	case Immediate:
		return syscall.SIGQUIT
	default:
		return syscall.SIGINT
	}
}

// Kill sends SIGKILL to the server and all its backends at one moment, and
// returns when they are gone. Of what the server had not written to the
// operating system nothing is left, as when its machine loses power; what it
// had written but not synced survives, unlike then.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		t.Fatal("pgtest: Kill: the server is not running")
	}
	if err := c.proc.kill(); err != nil {
		t.Fatalf("pgtest: Kill: %v", err)
	}
	c.proc = nil
	if err := c.guard.watch(); err != nil {
		t.Fatalf("pgtest: Kill: %v", err)
	}
}

// Stop shuts the server down and returns when it has ended.
func (c *Cluster) Stop(t testing.TB, mode Mode) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		t.Fatal("pgtest: Stop: the server is not running")
	}
	if err := c.shutdown(mode); err != nil {
		t.Fatalf("pgtest: Stop: %v", err)
	}
}

// shutdown needs c.mu. A server that does not end is killed and reported.
func (c *Cluster) shutdown(mode Mode) error {
	p := c.proc
	c.proc = nil
	err := p.signal(mode.signal())
	if err == nil && !p.wait(stopLimit) {
		err = fmt.Errorf("the server did not shut down within %v", stopLimit)
	}
	if err != nil {
		_ = p.kill() // the first error says more
	}
	if werr := c.guard.watch(); err == nil {
		err = werr
	}
	return err
}

// Restart starts the server again on the same data directory and port and
// returns when it accepts connections. After Kill that includes crash recovery.
// A server that still runs is stopped (Fast) first.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	if c.proc != nil {
		if err := c.shutdown(Fast); err != nil {
			c.mu.Unlock()
			t.Fatalf("pgtest: Restart: %v", err)
		}
	}
	c.mu.Unlock()
	if err := c.launch(); err != nil {
		t.Fatalf("pgtest: Restart: %v", err)
	}
}

// Pause freezes the server and all its backends (SIGSTOP). Connections stay
// open and nothing answers, until Resume.
func (c *Cluster) Pause(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		t.Fatal("pgtest: Pause: the server is not running")
	}
	children, err := c.proc.stop()
	if err == nil {
		err = c.guard.watch(append([]int{c.proc.pid}, children...)...)
	}
	if err != nil {
		t.Fatalf("pgtest: Pause: %v", err)
	}
}

// Resume lets a paused server go on where it stood.
func (c *Cluster) Resume(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.proc == nil {
		t.Fatal("pgtest: Resume: the server is not running")
	}
	err := c.proc.resume()
	if err == nil {
		err = c.guard.watch(c.proc.pid)
	}
	if err != nil {
		t.Fatalf("pgtest: Resume: %v", err)
	}
}

// Promote makes a standby a primary on a new timeline, and returns when it
// accepts writes.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	if !Value[bool](t, c.URL("postgres"), "SELECT pg_promote(true, 60)") {
		t.Fatal("pgtest: Promote: the standby did not finish its promotion within 60 s")
	}
}

// freeSharedMemory removes the small System V segment that a killed server
// leaves behind and that only a restart would reuse. Its id is in the lock file.
func (c *Cluster) freeSharedMemory() {
	data, err := os.ReadFile(filepath.Join(c.dataDir(), "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) < 7 {
		return
	}
	var key, id int
	if n, _ := fmt.Sscan(lines[6], &key, &id); n == 2 {
		removeSharedMemory(id)
	}
}
