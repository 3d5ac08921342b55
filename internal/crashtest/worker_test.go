//go:build linux

package crashtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
)

var built struct {
	sync.Once
	dir, path string
	err       error
}

// workerPath builds the worker, once.
func workerPath(t testing.TB) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "onceguard-crashtest-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "worker")
		out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", built.path, "./worker").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func removeWorker() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

// worker is a worker process.
type worker struct {
	t       testing.TB
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stderr  bytes.Buffer
	history string
	trace   string
	ended   chan struct{}
}

// launch starts a worker with failpoint rules. It gets no more calls than those
// of the job unless open is set.
func launch(t testing.TB, job crashtest.Job, rules string, open bool) *worker {
	t.Helper()
	dir := t.TempDir()
	w := &worker{t: t, history: filepath.Join(dir, "history.jsonl"), trace: filepath.Join(dir, "trace"), ended: make(chan struct{})}
	job.History = w.history
	w.cmd = exec.Command(workerPath(t))
	w.cmd.Env = append(os.Environ(), "ONCEGUARD_FAULT="+rules, "ONCEGUARD_FAULT_TRACE="+w.trace)
	w.cmd.Stderr = &w.stderr
	// A group of its own: should this process die while the worker is stopped,
	// the kernel wakes the orphaned group and hangs it up.
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = w.cmd.Wait()
		close(w.ended)
	}()
	t.Cleanup(func() {
		w.signal(syscall.SIGKILL)
		<-w.ended
		if t.Failed() && w.stderr.Len() > 0 {
			t.Logf("worker %d said:\n%s", w.cmd.Process.Pid, w.stderr.String())
		}
	})
	w.send(job)
	if !open {
		w.finish()
	}
	return w
}

// send writes one JSON value. A worker that has died is not asked.
func (w *worker) send(v any) {
	w.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.stdin.Write(data); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
		w.t.Fatal(err)
	}
}

// finish says that no more calls come.
func (w *worker) finish() { _ = w.stdin.Close() }

// wait returns when the worker has ended by itself.
func (w *worker) wait() *worker {
	w.t.Helper()
	if !w.endsWithin(2 * patience) {
		w.signal(syscall.SIGQUIT) // its goroutines
		w.endsWithin(time.Second)
		w.t.Fatalf("the worker does not end\n%s", w.stderr.String())
	}
	return w
}

func (w *worker) endsWithin(d time.Duration) bool {
	select {
	case <-w.ended:
		return true
	case <-time.After(d):
		return false
	}
}

// ok waits, and fails unless the worker ended well.
func (w *worker) ok() *worker {
	w.t.Helper()
	w.wait()
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		w.t.Fatalf("the worker ended with %s\n%s", w.cmd.ProcessState, w.stderr.String())
	}
	return w
}

// killed waits, and fails unless SIGKILL ended the worker.
func (w *worker) killed() *worker {
	w.t.Helper()
	w.wait()
	if s := w.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGKILL {
		w.t.Fatalf("the worker ended with %s, want SIGKILL\n%s", w.cmd.ProcessState, w.stderr.String())
	}
	return w
}

// signal sends a signal to the worker; nothing if it has ended.
func (w *worker) signal(s os.Signal) {
	if err := w.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Error(err)
	}
}

// stopped returns when SIGSTOP holds the worker.
func (w *worker) stopped() {
	w.t.Helper()
	w.until("be stopped", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
		after := stat[bytes.LastIndexByte(stat, ')')+1:]
		return len(after) > 1 && after[1] == 'T'
	})
}

// passed returns when the point has been passed n times.
func (w *worker) passed(point string, n int) {
	w.t.Helper()
	w.until(fmt.Sprintf("pass %s %d times", point, n), func() bool { return w.count(point, false) >= n })
}

// count says how often the point was passed, or how often a rule fired there.
func (w *worker) count(point string, fired bool) int {
	data, _ := os.ReadFile(w.trace)
	n := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 4 && f[1] == point && (!fired || f[3] != "-") {
			n++
		}
	}
	return n
}

// has waits for a line of the worker's history.
func (w *worker) has(what string, is func(crashtest.Line) bool) {
	w.t.Helper()
	w.until("write "+what, func() bool {
		for _, l := range w.lines() {
			if is(l) {
				return true
			}
		}
		return false
	})
}

// until polls, because neither the kernel nor a file tells. It gives up when
// the worker has ended and it is still not so.
func (w *worker) until(what string, is func() bool) {
	w.t.Helper()
	late := time.After(patience)
	for {
		ended := w.endsWithin(0)
		if is() {
			return
		}
		if ended {
			w.t.Fatalf("the worker ended (%s) and did not %s\n%s", w.cmd.ProcessState, what, w.stderr.String())
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-late:
			w.t.Fatalf("the worker does not %s", what)
		}
	}
}

func (w *worker) lines() []crashtest.Line {
	w.t.Helper()
	lines, err := crashtest.ReadHistory(w.history)
	if err != nil {
		w.t.Fatal(err)
	}
	return lines
}

// returns gives the Return lines; a call without one is given as "dead".
func (w *worker) returns() []crashtest.Line {
	w.t.Helper()
	return returns(w.lines())
}

func returns(lines []crashtest.Line) []crashtest.Line {
	open := map[int64]crashtest.Line{}
	var out []crashtest.Line
	for _, l := range lines {
		switch l.Kind {
		case crashtest.Invoke:
			open[l.N] = l
		case crashtest.Return:
			delete(open, l.N)
			out = append(out, l)
		}
	}
	for _, l := range open {
		l.Kind, l.Told = crashtest.Return, dead
		out = append(out, l)
	}
	return out
}

// dead is what a caller was told whose process ended before its call did.
const dead = "dead"
