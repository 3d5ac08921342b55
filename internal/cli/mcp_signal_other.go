//go:build !unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// caughtSignals takes over what asks this process to end.
func caughtSignals() (<-chan os.Signal, func()) {
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	return caught, func() { signal.Stop(caught) }
}
