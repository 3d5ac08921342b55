//go:build unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// caughtSignals takes over the signals that belong to a server behind this
// process. Whoever reads our output may go away before a guarded call ends, which
// must not kill this process: SIGPIPE is caught to the end, and the write fails.
func caughtSignals() (<-chan os.Signal, func()) {
	caught := make(chan os.Signal, 64)
	for _, s := range relayed {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return caught, func() { signal.Stop(caught) }
}
