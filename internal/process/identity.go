package process

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// Identity names one process among all that ever ran on a host. Fields that
// could not be read are empty; State is then Unknown.
type Identity struct {
	OS   string // runtime.GOOS
	Boot string // changes with every start of the kernel

	// PIDNamespace is where PID and Start have their meaning: the observer's
	// pid and time namespace, not those of the process itself.
	PIDNamespace string

	PID   int
	Start string // start time in the system's own unit; tells reuses of PID apart
	Host  string // derived from the machine id, which is not shown; may be empty, is not unique
}

// Self returns the identity of this process. It is read once.
func Self() Identity { return self() }

var self = sync.OnceValue(func() Identity {
	if id, err := Of(os.Getpid()); err == nil {
		return id
	}
	id := place()
	id.PID = os.Getpid()
	return id
})

// place returns what all processes that we can name have in common.
var place = sync.OnceValue(func() Identity {
	id := readPlace()
	id.OS = runtime.GOOS
	return id
})

// Of returns the identity of the process that pid names now. For a child that
// has not been waited for, that is the child, dead or not. An error means that
// there is no such process or that the system does not tell.
func Of(pid int) (Identity, error) {
	if pid <= 0 {
		return Identity{}, fmt.Errorf("process: %d is not a process id", pid)
	}
	start, err := readStart(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("process: identity of pid %d: %w", pid, err)
	}
	id := place()
	id.PID, id.Start = pid, start
	return id, nil
}
