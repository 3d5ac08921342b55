package process

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// childEnv makes this test binary play the process that a test watches.
const childEnv = "ONCEGUARD_PROCESS_TEST_CHILD"

// The main goroutine stays on the first thread, so that a child can end it.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "headless":
		// Another thread tells the parent once the first one is a zombie.
		go func() {
			for {
				if s, err := readStat("/proc/self/stat"); err != nil || s.ended() {
					break
				}
				time.Sleep(time.Millisecond)
			}
			waitForParent()
		}()
		syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
	case "waiting":
		waitForParent()
	}
}

// waitForParent says that it runs and ends with the parent's end of stdin.
func waitForParent() {
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	os.Exit(0)
}

// spawn starts a child and returns when it has said that it is ready.
func spawn(t *testing.T, role string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+role)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
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
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child said %q, %v", line, err)
	}
	return cmd
}

func identify(t *testing.T, pid int) Identity {
	t.Helper()
	id, err := Of(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func wantState(t *testing.T, what string, id Identity, want Liveness) {
	t.Helper()
	if got := id.State(); got != want {
		t.Errorf("%s: %v, want %v (%+v)", what, got, want, id)
	}
}

// waitZombie returns when the child has ended, and leaves it unreaped.
func waitZombie(t *testing.T, pid int) {
	t.Helper()
	const pPID = 1 // P_PID of waitid(2)
	var info [128]byte
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, pPID, uintptr(pid),
			addr(&info), syscall.WEXITED|syscall.WNOWAIT, 0, 0)
		if errno == 0 {
			return
		}
		if errno != syscall.EINTR {
			t.Fatal(errno)
		}
	}
}

func TestSelfIsAlive(t *testing.T) {
	wantState(t, "self", Self(), Alive)
	if id := Self(); id.PID != os.Getpid() || id.Boot == "" || id.PIDNamespace == "" || id.Start == "" {
		t.Errorf("incomplete: %+v", id)
	}
	if a, b := Self(), identify(t, os.Getpid()); a != b {
		t.Errorf("two identities of one process: %+v, %+v", a, b)
	}
}

func TestKilledChild(t *testing.T) {
	cmd := spawn(t, "waiting")
	id := identify(t, cmd.Process.Pid)
	wantState(t, "running", id, Alive)
	if AllDead([]Identity{id}) {
		t.Error("AllDead of a running child")
	}

	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wantState(t, "stopped", id, Alive)

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitZombie(t, cmd.Process.Pid)
	wantState(t, "zombie", id, Dead)
	if again := identify(t, cmd.Process.Pid); again != id {
		t.Errorf("a zombie is %+v, was %+v", again, id)
	}

	if err := cmd.Wait(); err == nil {
		t.Fatal("a killed child exited well")
	}
	wantState(t, "reaped", id, Dead)
	if !AllDead([]Identity{id, id}) || AllDead([]Identity{id, Self()}) || AllDead([]Identity{Self(), id}) {
		t.Error("AllDead is not about all")
	}
	if _, err := Of(cmd.Process.Pid); err == nil {
		t.Error("Of found a reaped child")
	}
}

func TestFirstThreadEndedOthersRun(t *testing.T) {
	cmd := spawn(t, "headless")
	if s, err := readStat(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)); err != nil || s.state != "Z" {
		t.Fatalf("the first thread is in state %q, %v, want Z", s.state, err)
	}
	id := identify(t, cmd.Process.Pid)
	wantState(t, "a zombie with running threads", id, Alive)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitZombie(t, cmd.Process.Pid)
	wantState(t, "all threads ended", id, Dead)
}

func TestReusedPID(t *testing.T) {
	id := Self()
	id.Start += "0" // an earlier process had our pid
	wantState(t, "another start time", id, Dead)
}

func TestFarAwayIsUnknown(t *testing.T) {
	cmd := spawn(t, "waiting")
	dead := identify(t, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	waitZombie(t, cmd.Process.Pid)
	wantState(t, "here", dead, Dead)
	for name, change := range map[string]func(*Identity){
		"other boot":           func(i *Identity) { i.Boot = "b2c67880-0000-0000-0000-000000000000" },
		"other boot, old host": func(i *Identity) { i.Boot, i.Host = "x", Self().Host },
		"no boot":              func(i *Identity) { i.Boot = "" },
		"other namespace":      func(i *Identity) { i.PIDNamespace = "1/1" },
		"no namespace":         func(i *Identity) { i.PIDNamespace = "" },
		"other host":           func(i *Identity) { i.Host += "0" },
		"other system":         func(i *Identity) { i.OS = "darwin" },
		"no pid":               func(i *Identity) { i.PID = 0 },
		"a group":              func(i *Identity) { i.PID = -i.PID },
	} {
		id := dead
		change(&id)
		wantState(t, name, id, Unknown)
	}
	wantState(t, "nothing", Identity{}, Unknown)
}
