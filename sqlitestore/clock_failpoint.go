//go:build failpoint

package sqlitestore

import "time"

// ClockForCrashTests returns o with another clock for the store. SQLite's clock
// is the machine's, which a test must not set, and Go programs do not pass by
// the C library, where libfaketime could stand in for it.
func ClockForCrashTests(o Options, now func() time.Time) *Options {
	o.now = now
	return &o
}
