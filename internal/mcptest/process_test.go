//go:build linux

package mcptest_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait; nothing takes a fraction of it.
const patience = 20 * time.Second

// process is a process that a test started, and what it said.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}

	mu      sync.Mutex
	stdout  [][]byte // whole lines
	stderr  bytes.Buffer
	changed chan struct{}
}

// start runs a command until the end of the test.
func start(t testing.TB, env []string, command ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(command[0], command[1:]...), ended: make(chan struct{}), changed: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = (*errLog)(p)
	// A group of its own, so that the end of the test ends its children too; and
	// it does not outlive a test binary that was killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := onStarter(p.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go p.read(out)
	t.Cleanup(func() {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // nobody may be left
		<-p.ended
		if t.Failed() && p.errors() != "" {
			t.Logf("%s said:\n%s", filepath.Base(command[0]), p.errors())
		}
	})
	return p
}

// starter is a thread that lives as long as this process does: the kernel sends
// Pdeathsig when the thread ends that started the child.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for do := range work {
			do()
		}
	}()
	return work
})

func onStarter(do func() error) error {
	done := make(chan error, 1)
	starter() <- func() { done <- do() }
	return <-done
}

func (p *process) read(out io.Reader) {
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			p.note(func() { p.stdout = append(p.stdout, bytes.TrimRight(line, "\n")) })
		}
		if err != nil {
			break
		}
	}
	// A grandchild may hold standard error open after a kill.
	p.cmd.WaitDelay = time.Second
	_ = p.cmd.Wait()
	close(p.ended)
	p.note(func() {})
}

// note changes what is known and wakes whoever waits for it.
func (p *process) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

type errLog process

// Write keeps what a process says on standard error.
func (l *errLog) Write(b []byte) (int, error) {
	p := (*process)(l)
	p.note(func() { p.stderr.Write(b) })
	return len(b), nil
}

func (p *process) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

func (p *process) lines() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout
}

// until waits for something that the process says. The process may have ended.
func (p *process) until(what string, is func() bool) {
	p.t.Helper()
	late := time.After(patience)
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		over := p.over()
		if is() {
			return
		}
		if over {
			p.t.Fatalf("%s ended (%s) before %s\n%s\n%s", p.cmd.Args[0], p.cmd.ProcessState, what, bytes.Join(p.lines(), []byte("\n")), p.errors())
		}
		select {
		case <-changed:
		case <-late:
			p.t.Fatalf("waited in vain for %s\n%s\n%s", what, bytes.Join(p.lines(), []byte("\n")), p.errors())
		}
	}
}

func (p *process) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// first returns the first line on standard output.
func (p *process) first() string {
	p.t.Helper()
	p.until("its first line", func() bool { return len(p.lines()) > 0 })
	return string(p.lines()[0])
}

// wait returns when the process has ended.
func (p *process) wait() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%v does not end\n%s", p.cmd.Args, p.errors())
	}
}

// send writes a line. A process that has ended reads nothing.
func (p *process) send(line string) {
	p.t.Helper()
	if _, err := p.stdin.Write([]byte(line + "\n")); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
		p.t.Fatal(err)
	}
}

func killPid(t testing.TB, pid int) { signalPid(t, pid, syscall.SIGKILL) }

func signalPid(t testing.TB, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
}

// stopped waits until SIGSTOP holds a process. The kernel does not tell.
func stopped(t testing.TB, pid int) {
	t.Helper()
	poll(t, fmt.Sprintf("process %d to stop", pid), func() bool { return state(pid) == 'T' })
}

// gone waits until a process has ended: all of its threads, or a connection to a
// dead server could still come about.
func gone(t testing.TB, pid int) {
	t.Helper()
	poll(t, fmt.Sprintf("process %d to end", pid), func() bool {
		s := state(pid)
		threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		return s == 0 || s == 'Z' && len(threads) <= 1
	})
}

// state is the letter of a process's state, 0 if there is none.
func state(pid int) byte {
	if pid == 0 {
		return 0
	}
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	if len(after) < 2 {
		return 0
	}
	return after[1]
}

// poll waits for what neither a file nor the kernel announces.
func poll(t testing.TB, what string, is func() bool) {
	t.Helper()
	late := time.Now().Add(patience)
	for !is() {
		if time.Now().After(late) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// self is this test binary.
func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}
