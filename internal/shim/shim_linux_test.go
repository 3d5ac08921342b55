package shim

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets this test program be the shim.
func TestMain(m *testing.M) {
	if Asked(os.Args[1:]) {
		os.Exit(Run(os.Args[1:], os.Stderr))
	}
	os.Exit(m.Run())
}

func start(t *testing.T) (*Process, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	p, err := Start([]string{"shown"}, Streams{Stdin: strings.NewReader("input"), Stdout: w, Stderr: w})
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	return p, r
}

func shell(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	return path
}

func TestBecome(t *testing.T) {
	p, out := start(t)
	if err := p.Become(shell(t), []string{"sh", "-c", `echo "$$ $X"; cat; exit 7`}, []string{"PATH=" + os.Getenv("PATH"), "X=\xff"}); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil || state.ExitCode() != 7 {
		t.Errorf("ended as %v, %v; want exit 7", state, err)
	}
	pid, rest, _ := strings.Cut(string(got), " ")
	if want := "\xff\ninput"; rest != want {
		t.Errorf("the command printed %q, want its environment and input %q", rest, want)
	}
	if pid == "" || pid != strings.TrimSpace(pid) || state.Pid() != p.PID() {
		t.Errorf("the command has the pid %q, the process had %d", pid, p.PID())
	}
}

func TestExecErrorIsKnown(t *testing.T) {
	for name, want := range map[string]syscall.Errno{filepath.Join(t.TempDir(), "none"): syscall.ENOENT, t.TempDir(): syscall.EACCES} {
		p, _ := start(t)
		if err := p.Become(name, []string{"x"}, nil); !errors.Is(err, want) {
			t.Errorf("becoming %s: %v, want %v", name, err, want)
		}
		p.Abandon()
	}
}

func TestNoParentNoCommand(t *testing.T) {
	t.Run("abandoned", func(t *testing.T) {
		p, out := start(t)
		p.Abandon()
		nothing(t, out)
	})
	// A parent that dies in the middle of its message.
	t.Run("half a message", func(t *testing.T) {
		marker := filepath.Join(t.TempDir(), "ran")
		var message bytes.Buffer
		if err := (order{shell(t), []string{"sh", "-c", ": >" + marker}, nil}).write(&message); err != nil {
			t.Fatal(err)
		}
		p, out := start(t)
		if _, err := p.order.Write(message.Bytes()[:message.Len()-1]); err != nil {
			t.Fatal(err)
		}
		p.Abandon()
		nothing(t, out)
		if _, err := os.Stat(marker); err == nil {
			t.Error("the command ran although its order was not whole")
		}
	})
}

func nothing(t *testing.T, out *os.File) {
	t.Helper()
	if got, err := io.ReadAll(out); err != nil || len(got) > 0 {
		t.Errorf("printed %q, %v; want nothing", got, err)
	}
}

func TestKilledBeforeTheOrder(t *testing.T) {
	p, _ := start(t)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := p.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := p.Become(shell(t), []string{"sh", "-c", "exit 0"}, nil); !errors.Is(err, ErrGone) {
		t.Errorf("Become gives %v, want ErrGone", err)
	}
}

func TestSignalsWhileWaiting(t *testing.T) {
	p, _ := start(t)
	var message bytes.Buffer
	if err := (order{shell(t), []string{"sh", "-c", "kill -INT $$; exit 3"}, nil}).write(&message); err != nil {
		t.Fatal(err)
	}
	// Once it has taken the first bytes, it waits for the rest.
	if _, err := p.order.Write(message.Next(4)); err != nil {
		t.Fatal(err)
	}
	awaitEmpty(t, p.order)
	// Both are dropped while it waits, and are back to their defaults in the
	// command: nothing is inherited as ignored.
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := p.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.order.Write(message.Bytes()); err != nil {
		t.Fatal(err)
	}
	state, err := p.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if ws := state.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGINT {
		t.Errorf("the command ended as %v, want by its own interrupt", state)
	}
}

func awaitEmpty(t *testing.T, pipe *os.File) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			return
		}
	}
	t.Fatal("the waiting process does not read")
}

func TestOrderKeepsBytes(t *testing.T) {
	want := order{"/p\xff", []string{"", "a\x00b", "\xfe"}, []string{"A=\n", "B=\xff"}}
	var b bytes.Buffer
	if err := want.write(&b); err != nil {
		t.Fatal(err)
	}
	got, err := readOrder(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Path != want.Path || !slices.Equal(got.Argv, want.Argv) || !slices.Equal(got.Env, want.Env) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestRunByHand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(self, verb).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 64 || !strings.Contains(string(out), "onceguard run") {
		t.Errorf("typed by hand it ends with %v and says %q", err, out)
	}
}
