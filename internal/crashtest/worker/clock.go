//go:build unix && failpoint

package main

import (
	"time"

	"github.com/onceguard/onceguard/sqlitestore"
)

func withClock(o sqlitestore.Options, now func() time.Time) *sqlitestore.Options {
	return sqlitestore.ClockForCrashTests(o, now)
}
