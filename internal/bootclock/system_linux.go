package bootclock

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// clockBoottime is CLOCK_BOOTTIME of <linux/time.h>, see clock_gettime(2). Go's
// monotonic clock is CLOCK_MONOTONIC, which stands still in suspend.
const clockBoottime = 7

var system = Clock{Ticks: bootTime{}}

type bootTime struct{}

func (bootTime) Now() (time.Duration, error) { return readClock(clockBoottime) }

func readClock(id uintptr) (time.Duration, error) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("clock_gettime(%d): %w", id, errno)
	}
	return time.Duration(ts.Nano()), nil
}
