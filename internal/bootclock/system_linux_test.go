package bootclock

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// /proc/uptime is the kernel's own boot time (proc_uptime(5)), in hundredths of
// a second: a reading between two of ours names the clock we read.
func TestSystemIsTheBootTime(t *testing.T) {
	before := mustNow(t, System)
	data, err := os.ReadFile("/proc/uptime")
	if err != nil {
		t.Skip(err)
	}
	after := mustNow(t, System)
	text, _, _ := strings.Cut(string(data), " ")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	uptime := time.Duration(seconds * float64(time.Second))
	const rounding = 10 * time.Millisecond
	if uptime < before.ticks-rounding || uptime > after.ticks {
		t.Errorf("uptime %v is not between %v and %v", uptime, before.ticks, after.ticks)
	}
}

func TestUnknownClockIsAnError(t *testing.T) {
	if at, err := readClock(999); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v, %v, want EINVAL", at, err)
	}
}
