//go:build !linux

package cli

import (
	"os"

	"github.com/onceguard/onceguard/internal/shim"
)

// suspendSignals is empty: a terminal suspends the whole group, and this process
// with it, by the system's own rules.
var suspendSignals []os.Signal

func suspends(os.Signal) bool { return false }

func (r *relay) suspend(os.Signal, *shim.Process) {}
