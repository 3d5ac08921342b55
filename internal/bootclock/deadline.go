package bootclock

import (
	"sync/atomic"
	"time"
)

// Deadline is a moment after which something must not be started any more. Nil
// and zero Deadlines are over. Safe for several goroutines.
type Deadline struct {
	from Instant
	span time.Duration
	over atomic.Bool
}

// Passed says whether the moment has come, or whether that cannot be known.
// Once true it stays true, also when the wall clock is set back.
func (d *Deadline) Passed() bool { return d.Remaining() <= 0 }

// Remaining returns what is left, and 0 once d has passed.
func (d *Deadline) Remaining() time.Duration {
	if d == nil || d.over.Load() {
		return 0
	}
	elapsed, err := d.from.Elapsed()
	if err != nil || elapsed >= d.span {
		d.over.Store(true)
		return 0
	}
	return d.span - elapsed
}
