package bootclock

import "time"

// Instant is a moment on one Clock, in this process. The zero Instant belongs
// to no clock.
type Instant struct {
	clock       Clock
	ticks, wall time.Duration
}

// Elapsed returns how long ago i was: the longer of what the clocks say. An
// error means that it cannot be known; take it as "too long".
func (i Instant) Elapsed() (time.Duration, error) {
	now, err := i.clock.Now()
	if err != nil {
		return 0, err
	}
	ticks, wall := now.ticks-i.ticks, now.wall-i.wall
	if ticks < 0 || wall < 0 {
		return 0, ErrWentBack
	}
	return max(ticks, wall), nil
}

// Deadline returns the moment d after i. Take i before sending what grants the
// time, so that the way there is counted.
func (i Instant) Deadline(d time.Duration) *Deadline {
	return &Deadline{from: i, span: d}
}
