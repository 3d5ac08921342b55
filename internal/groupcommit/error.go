package groupcommit

import (
	"errors"
	"fmt"
)

// ErrClosed is the answer to a call after Close: nothing of it was flushed.
var ErrClosed = errors.New("the store is closed")

// LeftError is for a call whose context ended before its members were answered.
// The members then belong to the Group: a flush may still read and write them.
type LeftError struct {
	// Started says that a flush has got some of the call's members, and goes on
	// without the caller. Otherwise no flush ever gets one of them.
	Started bool
	// Full says that the call never found room among those that wait.
	Full bool
	// Cause is why the context ended.
	Cause error
}

// Error says how far the call came.
func (e *LeftError) Error() string {
	switch {
	case e.Started:
		return fmt.Sprintf("%v while the batch with this call was written", e.Cause)
	case e.Full:
		return fmt.Sprintf("%v while too many calls waited to be written", e.Cause)
	}
	return fmt.Sprintf("%v before this call's batch was begun", e.Cause)
}

// Unwrap returns the cause.
func (e *LeftError) Unwrap() error { return e.Cause }

// PanicError is the answer to the calls whose flush panicked or ended its
// goroutine: what it did before is not known.
type PanicError struct {
	Value any // what was passed to panic; nil for runtime.Goexit
}

// Error shows the panic's value.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "the flush ended its goroutine"
	}
	return fmt.Sprintf("the flush panicked: %v", e.Value)
}
