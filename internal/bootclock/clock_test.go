package bootclock

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// dial is a Source that tests turn by hand.
type dial struct {
	at  time.Duration
	err error
}

func (d *dial) Now() (time.Duration, error) { return d.at, d.err }

func mustNow(t *testing.T, c Clock) Instant {
	t.Helper()
	at, err := c.Now()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestElapsedTakesTheLongerClock(t *testing.T) {
	for name, tc := range map[string]struct{ ticks, wall, want time.Duration }{
		"both":                     {5, 5, 5},
		"wall stands still":        {5, 0, 5},
		"ticks slept":              {1, 9, 9},
		"wall was set a year back": {5, -1, -1},
		"ticks go backwards":       {-1, 5, -1},
	} {
		t.Run(name, func(t *testing.T) {
			ticks, wall := &dial{at: 100}, &dial{at: 1000}
			at := mustNow(t, Clock{Ticks: ticks, Wall: wall})
			ticks.at += tc.ticks
			wall.at += tc.wall
			got, err := at.Elapsed()
			if tc.want < 0 {
				if !errors.Is(err, ErrWentBack) {
					t.Errorf("got %v, %v, want ErrWentBack", got, err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestUnreadableClock(t *testing.T) {
	broken := errors.New("broken")
	ok, bad := &dial{}, &dial{err: broken}
	if _, err := (Clock{}).Now(); err == nil {
		t.Error("the zero clock was read")
	}
	for name, c := range map[string]Clock{
		"ticks": {Ticks: bad},
		"wall":  {Ticks: ok, Wall: bad},
	} {
		if _, err := c.Now(); !errors.Is(err, broken) {
			t.Errorf("%s: Now: got %v", name, err)
		}
		if d, err := c.After(time.Hour); !errors.Is(err, broken) || !d.Passed() {
			t.Errorf("%s: After: got %v, passed %v", name, err, d.Passed())
		}
	}
	if _, err := (Instant{}).Elapsed(); err == nil {
		t.Error("the zero instant has an age")
	}
}

func TestDeadline(t *testing.T) {
	const span = 10 * time.Second
	for name, tc := range map[string]struct {
		ticks, wall time.Duration
		remaining   time.Duration
	}{
		"fresh":              {0, 0, span},
		"half":               {span / 2, span / 2, span / 2},
		"last nanosecond":    {span - 1, 0, 1},
		"over":               {span, span, 0},
		"slept past it":      {1, span, 0},
		"wall was set back":  {1, -1, 0},
		"ticks went back":    {-1, 1, 0},
		"wall half, set on":  {1, span / 2, span / 2},
		"wall far in future": {0, 1 << 60, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ticks, wall := &dial{at: 1 << 40}, &dial{at: 1 << 60}
			d := mustNow(t, Clock{Ticks: ticks, Wall: wall}).Deadline(span)
			ticks.at += tc.ticks
			wall.at += tc.wall
			if got := d.Remaining(); got != tc.remaining {
				t.Errorf("remaining %v, want %v", got, tc.remaining)
			}
			if got, want := d.Passed(), tc.remaining == 0; got != want {
				t.Errorf("passed %v, want %v", got, want)
			}
		})
	}
}

func TestPassedStaysPassed(t *testing.T) {
	ticks, wall := &dial{}, &dial{}
	d := mustNow(t, Clock{Ticks: ticks, Wall: wall}).Deadline(time.Minute)
	wall.at = time.Hour
	if !d.Passed() {
		t.Fatal("not passed after an hour")
	}
	wall.at = 0
	if !d.Passed() {
		t.Error("setting the wall clock back revived the deadline")
	}
}

func TestUnreadableLaterIsPassed(t *testing.T) {
	ticks := &dial{}
	d := mustNow(t, Clock{Ticks: ticks}).Deadline(time.Minute)
	if d.Passed() {
		t.Fatal("passed at once")
	}
	ticks.err = errors.New("broken")
	if !d.Passed() {
		t.Error("a clock that cannot be read keeps the deadline open")
	}
}

func TestNoTimeIsPassed(t *testing.T) {
	var none *Deadline
	if !none.Passed() || !new(Deadline).Passed() {
		t.Error("a nil or zero deadline is open")
	}
	for _, span := range []time.Duration{0, -1} {
		if d, err := After(span); err != nil || !d.Passed() {
			t.Errorf("After(%v): %v, passed %v", span, err, d.Passed())
		}
	}
}

func TestMonotonicFollowsSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := Monotonic.After(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - 1)
		if got := d.Remaining(); got != 1 {
			t.Errorf("remaining %v, want 1ns", got)
		}
		time.Sleep(time.Nanosecond)
		if !d.Passed() {
			t.Error("open after its time")
		}
	})
}

func TestSystem(t *testing.T) {
	at, err := Now()
	if err != nil {
		t.Fatal(err)
	}
	first, err := at.Elapsed()
	if err != nil {
		t.Fatal(err)
	}
	second, err := at.Elapsed()
	if err != nil || second < first || first < 0 {
		t.Errorf("elapsed %v, then %v, %v", first, second, err)
	}
	if d, err := After(time.Hour); err != nil || d.Passed() {
		t.Errorf("an hour is over: %v", err)
	}
}

func BenchmarkPassed(b *testing.B) {
	d, err := After(time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if d.Passed() {
			b.Fatal("passed")
		}
	}
}
