//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// relayed are passed on to the command.
var relayed = []os.Signal{
	syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT,
	syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT,
}

func passedOn(s os.Signal) bool {
	for _, r := range relayed {
		if s == r {
			return true
		}
	}
	return false
}

// catch takes the signals over, but those that were ignored when this process
// started (nohup): they stay ignored, here and in the command.
func (r *relay) catch() {
	for _, s := range append(suspendSignals, relayed...) {
		if !signal.Ignored(s) {
			signal.Notify(r.caught, s)
		}
	}
	// Whoever reads our output may go away before the command ends. That must
	// not kill this process, and the write says EPIPE. Caught and not ignored,
	// since the command would inherit an ignored one; and caught to the end, so
	// that the verdict is still written. The channel is never read.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

func (r *relay) release() { signal.Stop(r.caught) }

// foreground says whether this process group is its terminal's foreground one.
func foreground() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer func() { _ = tty.Close() }()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
