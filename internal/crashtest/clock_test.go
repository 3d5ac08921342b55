//go:build linux

package crashtest_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// storeClock is a file that says how far a store's clock is ahead.
type storeClock struct {
	t    testing.TB
	path string
	form func(time.Duration) string
}

func (c storeClock) set(ahead time.Duration) {
	c.t.Helper()
	next := c.path + ".next"
	err := os.WriteFile(next, []byte(c.form(ahead)), 0o644)
	if err == nil {
		err = os.Rename(next, c.path)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// clocked gives a store whose clock can be set: SQLite by a hook of test
// builds, Postgres by libfaketime.
func clocked(t *testing.T, kind string) (*stage, storeClock) {
	t.Helper()
	if kind == sqlite {
		c := storeClock{t, filepath.Join(t.TempDir(), "clock"), time.Duration.String}
		c.set(0)
		s := newStage(t, newSQLite(t))
		s.change = func(j *crashtest.Job) { j.Clock = c.path }
		return s, c
	}
	libs, _ := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if len(libs) == 0 {
		missing(t, "libfaketime is not installed (Debian: apt-get install libfaketime), so Postgres' clock cannot be set")
	}
	dir, err := os.MkdirTemp("", "onceguard-clock-") // where the server's account can read
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := storeClock{t, filepath.Join(dir, "clock"), func(d time.Duration) string {
		// In seconds, with the sign that makes it an offset.
		sign := "+"
		if d < 0 {
			sign, d = "-", -d
		}
		return sign + strconv.Itoa(int(d/time.Second)) + "\n"
	}}
	c.set(0)
	_, m := privateServer(t, pgtest.Options{Env: []string{
		"LD_PRELOAD=" + libs[0], "FAKETIME_TIMESTAMP_FILE=" + c.path, "FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_DISABLE_SHM=1",
	}})
	s := newStage(t, m)
	c.set(time.Hour)
	if ahead := time.Until(pgtest.Value[time.Time](t, m.direct, "SELECT clock_timestamp()")); ahead < 50*time.Minute {
		t.Fatalf("the server's clock was set an hour ahead and is %s ahead", ahead)
	}
	c.set(0)
	return s, c
}

// TestStoreClockJumps sets the store's clock an hour ahead and back while an
// effect runs. It may park early or late, and take over early or late; it may
// not run anything twice or lose an outcome.
func TestStoreClockJumps(t *testing.T) {
	t.Parallel()
	for _, kind := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s, clock := clocked(t, kind)
			with := s.change
			s.change = func(j *crashtest.Job) {
				if with != nil {
					with(j)
				}
				j.Lease, j.Horizon = 10*time.Second, 24*time.Hour
			}
			// running starts a call whose request the ledger holds.
			running := func(t *testing.T, policy string) (*stage, *worker) {
				clock.set(0)
				s := s.again(t)
				s.books.modes(t, s.op, ledger.Nth(1, dedup, ledger.Mode{Dedup: true, Sticky: true, Hold: true})...)
				w := s.start("", crashtest.Call{Policy: policy})
				s.books.arrived(t, s.op, 1)
				return s, w
			}
			finish := func(s *stage, n int) {
				s.books.release(s, s.op)
				s.books.decided(s, s.op, n)
			}
			t.Run("ahead/at-most-once", func(t *testing.T) {
				s, w := running(t, crashtest.AtMostOnce)
				clock.set(time.Hour)
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), "uncertain")
				finish(s, 1)
				s.tells("the owner", w.ok().told(), crashtest.Receipt)
				s.tells("a retry later", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), crashtest.Receipt)
				s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
			})
			t.Run("ahead/safe-retry", func(t *testing.T) {
				s, w := running(t, crashtest.SafeRetry)
				clock.set(time.Hour)
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.SafeRetry}), crashtest.Receipt)
				finish(s, 2)
				s.tells("the owner", w.ok().told(), crashtest.Receipt)
				s.ends(crashtest.SafeRetry, onceguard.Succeeded, 1)
			})
			t.Run("back/owner alive", func(t *testing.T) {
				s, w := running(t, crashtest.AtMostOnce)
				clock.set(-time.Hour)
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce, Wait: 300 * time.Millisecond}), "in-progress")
				finish(s, 1)
				s.tells("the owner", w.ok().told(), crashtest.Receipt)
				s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
			})
			t.Run("back/owner dead", func(t *testing.T) {
				s, w := running(t, crashtest.AtMostOnce)
				clock.set(-time.Hour)
				w.signal(killSignal)
				w.killed()
				finish(s, 1)
				// The lease looks an hour long; the dead owner does not.
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), "uncertain")
				s.ends(crashtest.AtMostOnce, onceguard.Uncertain, 1)
			})
			t.Run("back/safe-retry", func(t *testing.T) {
				s, w := running(t, crashtest.SafeRetry)
				clock.set(-time.Hour)
				w.signal(killSignal)
				w.killed()
				finish(s, 1)
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.SafeRetry, Wait: 300 * time.Millisecond}), "in-progress")
				clock.set(time.Minute)
				s.tells("a retry when the clock is right again", s.call(crashtest.Call{Policy: crashtest.SafeRetry}), crashtest.Receipt)
				s.ends(crashtest.SafeRetry, onceguard.Succeeded, 1)
			})
		})
	}
}
