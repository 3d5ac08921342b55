//go:build unix

package cli

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// endOf reads how a process ended.
func endOf(state *os.ProcessState) commandEnd {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return commandEnd{code: exitSignal + int(ws.Signal()), signal: unix.SignalName(ws.Signal())}
	}
	return commandEnd{code: state.ExitCode()}
}
