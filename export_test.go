package onceguard

import "github.com/onceguard/onceguard/internal/bootclock"

// OnClock makes a guard judge its leases by c, such as bootclock.Monotonic,
// which follows the fake time of testing/synctest.
func (o Options) OnClock(c bootclock.Clock) Options {
	o.clock = c
	return o
}

// Codes lists every code, for tests that must not miss one.
var Codes = []Code{
	ErrInProgress, ErrUncertain, ErrRefused, ErrMismatch, ErrNoResult, ErrExpired, ErrNotRun, ErrUnsettled,
	ErrUndecodable, ErrCorrupt, ErrFrozen, ErrKeyMissing, ErrNotExecuted, ErrStale, ErrInvalid,
}

// Events lists every event kind.
var Events = []EventKind{
	EventClaimed, EventReplayed, EventSettled, EventReleased, EventWaiting, EventUncertain, EventMismatch, EventConflict,
	EventSuperseded, EventLeaseLost, EventMaxRun, EventStoreRetry, EventUnsettled, EventFrozen, EventCorrupt,
	EventForgotten, EventWarning, EventResolved, EventSwept, EventPruned,
}
