//go:build unix && !failpoint

package main

import (
	"time"

	"github.com/onceguard/onceguard/sqlitestore"
)

// withClock lets the package compile without the tag; main then refuses to run.
func withClock(o sqlitestore.Options, _ func() time.Time) *sqlitestore.Options { return &o }
