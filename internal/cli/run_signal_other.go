//go:build !unix

package cli

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/onceguard/onceguard/internal/shim"
)

// stopSignal does not exist here.
const stopSignal = syscall.Signal(-1)

func passedOn(s os.Signal) bool { return s == os.Interrupt }

func (r *relay) catch() { signal.Notify(r.caught, os.Interrupt, syscall.SIGTERM) }

func (r *relay) release() { signal.Stop(r.caught) }

func (r *relay) suspend(*shim.Process) {}

func foreground() bool { return false }
