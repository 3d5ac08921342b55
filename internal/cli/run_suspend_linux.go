package cli

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/onceguard/onceguard/internal/shim"
)

// suspendSignals are what suspend looks at: the request to stop, and the news
// that the command has.
var suspendSignals = []os.Signal{syscall.SIGTSTP, syscall.SIGCHLD}

func suspends(s os.Signal) bool { return slices.Contains(suspendSignals, s) }

// suspend passes the request on and stops this process once the command has
// stopped. One that goes on (it ignores the request, or the system does for it
// in an orphaned process group) still needs its lease renewed, so this process
// then goes on, too. The same holds for a command that others stop: nobody asked
// this process.
func (r *relay) suspend(s os.Signal, child *shim.Process) {
	if child == nil {
		return
	}
	if s == syscall.SIGTSTP {
		r.suspending = true
		if !foreground() {
			_ = child.Signal(syscall.SIGTSTP)
		}
	}
	if !r.suspending || !stopped(child.PID()) {
		return
	}
	r.suspending = false
	// Not SIGTSTP: the Go runtime keeps its handler for it once it was caught.
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) // goes on here after SIGCONT
}

// stopped asks without taking the child's state away from Wait.
func stopped(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo == int32(syscall.SIGCHLD)
}
