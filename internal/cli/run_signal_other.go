//go:build !unix

package cli

import (
	"os"
	"os/signal"
	"syscall"
)

func passedOn(s os.Signal) bool { return s == os.Interrupt }

func (r *relay) catch() { signal.Notify(r.caught, os.Interrupt, syscall.SIGTERM) }

func (r *relay) release() { signal.Stop(r.caught) }

func foreground() bool { return false }
