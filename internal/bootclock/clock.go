package bootclock

import (
	"errors"
	"fmt"
	"time"
)

// Source reads one clock: the time since some fixed moment.
type Source interface {
	Now() (time.Duration, error)
}

// Clock is what instants are taken from. The zero Clock cannot be read.
type Clock struct {
	// Ticks must not go backwards; one that counts suspend needs no Wall.
	Ticks Source
	// Wall is a second opinion for a Ticks that stands still in suspend. It may
	// jump; nil for none.
	Wall Source
}

// System is the clock of this machine; it counts suspend.
var System = system

// Monotonic is Go's monotonic clock alone. It follows the fake time of
// testing/synctest, which System does not, and it may miss suspend: for tests.
var Monotonic = Clock{Ticks: goMonotonic{}}

// ErrWentBack means that a clock shows less than it did before, so that no
// difference can be trusted.
var ErrWentBack = errors.New("bootclock: the clock went backwards")

var errNoClock = errors.New("bootclock: no clock to read")

// Now reads c. An error means that no lease can be watched: do not start.
func (c Clock) Now() (Instant, error) {
	if c.Ticks == nil {
		return Instant{}, errNoClock
	}
	at := Instant{clock: c}
	var err error
	if at.ticks, err = c.Ticks.Now(); err != nil {
		return Instant{}, fmt.Errorf("bootclock: %w", err)
	}
	if c.Wall != nil {
		if at.wall, err = c.Wall.Now(); err != nil {
			return Instant{}, fmt.Errorf("bootclock: wall clock: %w", err)
		}
	}
	return at, nil
}

// After returns a deadline d from now.
func (c Clock) After(d time.Duration) (*Deadline, error) {
	at, err := c.Now()
	if err != nil {
		return nil, err
	}
	return at.Deadline(d), nil
}

// Now reads the System clock.
func Now() (Instant, error) { return System.Now() }

// After returns a deadline d from now on the System clock.
func After(d time.Duration) (*Deadline, error) { return System.After(d) }

// processStart anchors Go's clock, which has no absolute reading of its own.
var processStart = time.Now()

type goMonotonic struct{}

func (goMonotonic) Now() (time.Duration, error) { return time.Since(processStart), nil }
