package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/onceguard/onceguard"
)

// Exit statuses of onceguard's own conditions, after sysexits.h. A status of
// the guarded command itself is passed through and may coincide: --status-file
// tells them apart.
const (
	exitOK          = 0
	exitFailed      = 1  // a refusal without a stored exit status; a doctor that found problems
	exitUsage       = 64 // bad flags or input; nothing was run or changed
	exitMismatch    = 65 // the key belongs to another command or input
	exitUnavailable = 69 // the store, or what it needs, is not there; nothing was run
	exitSoftware    = 70 // a bug
	exitInProgress  = 75 // another call runs; ask again
	exitUncertain   = 76 // may or may not have happened
	exitNoResult    = 78 // known, but no result; expired; frozen
	exitCannotStart = 126
	exitNotFound    = 127
	exitSignal      = 128 // plus the signal's number
)

// failure is an error with its exit status. Its text says what was wrong, where
// and what to do; done says whether anything ran or changed.
type failure struct {
	status int
	text   string
	done   string
	quiet  bool // everything was said already
	err    error
}

func (f *failure) Error() string {
	if f.done == "" {
		return f.text
	}
	return f.text + "; " + f.done
}

func (f *failure) Unwrap() error { return f.err }

const nothing = "nothing was run or changed"

func usageError(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &failure{status: exitUsage, text: err.Error(), done: nothing, err: err}
}

func unavailable(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &failure{status: exitUnavailable, text: err.Error(), done: nothing, err: err}
}

// silent ends with a status whose reason was printed already.
func silent(status int) error {
	if status == exitOK {
		return nil
	}
	return &failure{status: status, quiet: true, text: fmt.Sprintf("exit %d", status)}
}

// statusOf is the exit status for an error of any origin.
func statusOf(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.status
	}
	var e *onceguard.Error
	if errors.As(err, &e) {
		return statusOfCode(e.Code)
	}
	var se *onceguard.StoreError
	var ie *onceguard.IdentityError
	switch {
	case errors.As(err, &se):
		return exitUnavailable
	case errors.As(err, &ie):
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitSignal + 2
	}
	return exitFailed
}

func statusOfCode(c onceguard.Code) int {
	switch c {
	case onceguard.ErrInvalid:
		return exitUsage
	case onceguard.ErrMismatch:
		return exitMismatch
	case onceguard.ErrNotRun, onceguard.ErrNotExecuted, onceguard.ErrKeyMissing:
		return exitUnavailable
	case onceguard.ErrInProgress, onceguard.ErrUnsettled:
		return exitInProgress
	case onceguard.ErrUncertain:
		return exitUncertain
	case onceguard.ErrNoResult, onceguard.ErrExpired, onceguard.ErrFrozen, onceguard.ErrUndecodable, onceguard.ErrCorrupt:
		return exitNoResult
	}
	return exitFailed
}

// finish prints an error once and returns the exit status.
func (a *app) finish(err error) int {
	if err == nil {
		return exitOK
	}
	var f *failure
	if !errors.As(err, &f) || !f.quiet {
		a.complain(err)
	}
	return statusOf(err)
}

// complain prints an error on one line, whatever a library put into it.
func (a *app) complain(err error) {
	text := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\t' || r == '\r' }), " ")
	a.say("%s", strings.TrimPrefix(text, "onceguard: "))
}
