package onceguard

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Code classifies an Error. Codes are errors themselves, so that programs
// branch with errors.Is(err, onceguard.ErrUncertain).
type Code string

// The codes. Each line says whether the effect may have run.
const (
	ErrInProgress  Code = "in-progress"  // another claim runs; the effect may be running
	ErrUncertain   Code = "uncertain"    // may or may not have happened
	ErrRefused     Code = "refused"      // surely did not happen, and is refused for good
	ErrMismatch    Code = "mismatch"     // this call ran nothing: the key belongs to another input
	ErrNoResult    Code = "no-result"    // the outcome is known, its result is not kept
	ErrExpired     Code = "expired"      // the key is older than the memory: never executed by this call
	ErrNotRun      Code = "not-run"      // this call ran nothing
	ErrUnsettled   Code = "unsettled"    // the effect ended; its outcome is not stored yet, the guard goes on trying
	ErrUndecodable Code = "undecodable"  // the outcome is known, its result does not fit the type
	ErrCorrupt     Code = "corrupt"      // the stored result fails its digest; never run again
	ErrFrozen      Code = "frozen"       // the store may have forgotten claims; nothing runs until acknowledged
	ErrKeyMissing  Code = "key-missing"  // the fingerprint key that the record names is not here
	ErrNotExecuted Code = "not-executed" // the effect said that it surely did not happen; the request may be tried again
	ErrStale       Code = "stale"        // a decision about a record that moved on; nothing changed
	ErrInvalid     Code = "invalid"      // the request is malformed; nothing ran
)

// Error returns the code's name.
func (c Code) Error() string { return "onceguard: " + string(c) }

// Error is what a guard returns for everything but success. It always says
// whether the effect may have run.
type Error struct {
	Code      Code
	RequestID RequestID
	Scope     string
	Action    string
	Key       string // readable form
	Store     string // name of the store that was asked

	State      State         // of the record, where known
	Attempt    int64         // number of the attempt the error is about
	Since      time.Time     // store clock: when the record entered State
	RetryAfter time.Duration // in-progress: what remains of the lease
	SettledBy  string        // refused, no-result: who settled
	Reason     string        // stored or local reason, one line
	Value      any           // unsettled: the value that the effect returned; undecodable: the stored bytes

	// MayHaveRun says whether the effect of this request may have happened:
	// by this call, and, where the record was read, by an earlier one. Errors
	// that come before a record was read (not-run, expired, mismatch, frozen,
	// invalid) speak of this call alone: false is then no leave to go another
	// way, an earlier call with the same key may have acted.
	MayHaveRun bool
	Err        error // the cause: the effect's own error for its owner
}

// Error says what happened, to which request, whether the effect may have run,
// and what to do.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Code.Error())
	if e.Action != "" {
		fmt.Fprintf(&b, ": %s %s", e.Action, e.Key)
	}
	if !e.RequestID.IsZero() {
		fmt.Fprintf(&b, " (%s)", e.RequestID)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	} else if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	fmt.Fprintf(&b, "; %s", e.advice())
	return b.String()
}

func (e *Error) advice() string {
	switch e.Code {
	case ErrInProgress:
		return fmt.Sprintf("the effect may have happened: another attempt is running; ask again in %s with the same key", e.RetryAfter.Round(time.Millisecond))
	case ErrUncertain:
		switch e.State {
		case Claimed:
			return "the effect may have happened; its policy lets a retry with the same key start it again; never use a new one" + e.where()
		case Released:
			return "the effect may have happened although it was released for another run meanwhile; look at the evidence before you retry" + e.where()
		}
		return "the effect may have happened and is not run again until a late result, a lookup or a person settles it; retry with the same key, never a new one" + e.where()
	case ErrRefused:
		return "the effect did not happen; a new try of the business needs a new key"
	case ErrMismatch:
		return "this key was used with another input; nothing was run by this call" + e.where()
	case ErrNoResult:
		return fmt.Sprintf("the effect %s, its result is not kept; nothing is run again", e.happened())
	case ErrExpired:
		return "the key is older than the memory of this store; nothing was run, and whether it ran long ago is not known here"
	case ErrUnsettled:
		if e.State == Absent {
			return "the effect " + e.happened() + " and the store has forgotten the request, so that a retry would run it again: do not retry; find out what became of the store" + e.where()
		}
		return "the effect " + e.happened() + " and its outcome is not stored yet; the guard goes on trying; do not repeat under a new key"
	case ErrUndecodable:
		return "the effect " + e.happened() + ", its stored result does not fit the type asked for; nothing is run again"
	case ErrCorrupt:
		return "the effect " + e.happened() + ", its stored result is damaged; nothing is run again; restore the store from a backup"
	case ErrFrozen:
		return "the store may have forgotten claims (failover or restore); nothing was run; a person must acknowledge it" + e.where()
	case ErrKeyMissing:
		return "nothing was run by this call, an earlier one may have; load the key that is missing"
	case ErrStale:
		return "the effect " + e.happened() + "; nothing was changed; read the record again and decide anew"
	case ErrNotExecuted:
		if e.MayHaveRun {
			return "this attempt surely did not act, an earlier one may have; retry with the same key, never a new one"
		}
		return "the effect surely did not happen; the same request may be tried again"
	}
	if e.MayHaveRun {
		return "nothing was run by this call, an earlier one may have"
	}
	return "nothing was run by this call"
}

// happened says what is known of the effect itself.
func (e *Error) happened() string {
	switch {
	case e.State == Succeeded:
		return "happened"
	case !e.MayHaveRun:
		return "did not happen"
	}
	return "may have happened"
}

func (e *Error) where() string {
	if e.Store == "" {
		return ""
	}
	return " (store " + e.Store + ")"
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches the error's Code.
func (e *Error) Is(target error) bool {
	c, ok := target.(Code)
	return ok && c == e.Code
}

// MayHaveRun reports whether the effect of the failed call may have happened;
// Error.MayHaveRun says what that covers.
// Errors that are not the guard's count as "may have": the caller then knows
// nothing. A nil error is a success and reports true.
func MayHaveRun(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.MayHaveRun
	}
	return true
}

// effectError carries what an effect declares about its own failure.
type effectError struct {
	verb Verb
	err  error
}

func (e *effectError) Error() string { return e.err.Error() }
func (e *effectError) Unwrap() error { return e.err }

// NotExecuted marks err as "the effect surely did not happen and will not under
// this attempt": the request is released and may be claimed again. Use it only
// when nothing left the process, or the downstream documents the refusal as one
// made before any work.
func NotExecuted(err error) error { return declare(SettleReleased, err) }

// Refused marks err as a definite refusal: the effect did not happen and the
// refusal is the receipt, replayed to every caller. A value returned beside it
// is stored with it. A new business try needs a new key.
func Refused(err error) error { return declare(SettleFailed, err) }

func declare(v Verb, err error) error {
	if err == nil {
		return nil
	}
	return &effectError{verb: v, err: err}
}

// verbOf says what an effect's error means. The outermost declaration wins;
// everything undeclared is unknown.
func verbOf(err error) Verb {
	if err == nil {
		return SettleSucceeded
	}
	var d *effectError
	if errors.As(err, &d) {
		return d.verb
	}
	if mutant.On("unknown-is-not-executed") {
		return SettleReleased
	}
	return SettleUnknown
}
