package sqlitestore

import (
	"os"
	"time"
)

// WithClock returns o with another clock for the store.
func WithClock(o Options, now func() time.Time) *Options {
	o.now = now
	return &o
}

// CrashedCopy copies the database and its log as a crash would leave them.
// Locks of this process on the database drop when the copy is closed, so the
// store must not be used at the same time.
func CrashedCopy(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(from + suffix)
		if notExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(to+suffix, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
