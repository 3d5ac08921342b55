//go:build unix

package mcpproxy

import (
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// signal goes to the whole group: behind a wrapper such as npx the server is
// another process.
func (c *child) signal(s syscall.Signal) {
	select {
	case <-c.exited: // the group's number may be another's by now
	default:
		_ = syscall.Kill(-c.cmd.Process.Pid, s)
	}
}

// status is the exit status as a shell has it: 128 and the number for a signal.
func (c *child) status() int {
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return c.cmd.ProcessState.ExitCode()
}
