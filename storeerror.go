package onceguard

import (
	"errors"
	"fmt"
)

// StoreError is how a store fails. Clean says that surely nothing was written;
// without it a write may have happened. Permanent says that trying again is
// pointless until somebody changes something (no schema, a standby, read-only).
type StoreError struct {
	Op        string // "claim", "settle", ...
	Clean     bool
	Permanent bool
	Err       error
}

// Error says which call failed, why, and whether it may have written.
func (e *StoreError) Error() string {
	written := "it is not known whether it was written"
	if e.Clean {
		written = "nothing was written"
	}
	return fmt.Sprintf("store %s: %v (%s)", e.Op, e.Err, written)
}

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// cleanFailure reports whether err says that surely nothing was written.
func cleanFailure(err error) bool {
	var se *StoreError
	return errors.As(err, &se) && se.Clean
}

// permanentFailure reports whether err says that another try is pointless.
func permanentFailure(err error) bool {
	var se *StoreError
	return errors.As(err, &se) && se.Permanent
}
