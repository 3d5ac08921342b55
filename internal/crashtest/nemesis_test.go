//go:build linux

package crashtest_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A nemesis is what goes wrong with the surroundings of a round's workers, on
// top of what goes wrong with the workers themselves.
type nemesis string

const (
	noNemesis      nemesis = "none"
	ledgerKilled   nemesis = "ledger killed"
	ledgerStopped  nemesis = "ledger stopped"
	serverKilled   nemesis = "postmaster killed"  // Postgres
	serverStopped  nemesis = "postmaster stopped" // Postgres
	clockJumps     nemesis = "store clock jumps"  // SQLite, by the hook of test builds
	diskFull       nemesis = "disk full"          // SQLite on a small disk
	clockJump              = 20 * time.Minute     // each way; more than a lease, less than a horizon
	smallDiskBytes         = "size=24m"
)

var nemeses = map[string][]nemesis{
	sqlite:   {clockJumps, ledgerKilled, diskFull, noNemesis, ledgerStopped},
	postgres: {serverKilled, ledgerKilled, serverStopped, noNemesis, ledgerStopped},
}

// prepare sets the stage for a round's nemesis and returns what ends it.
func (r *round) prepare() (end func()) {
	old := *r.memory
	end = func() { *r.memory = old }
	switch r.nemesis {
	case clockJumps:
		r.clock = &storeClock{r, filepath.Join(r.TempDir(), "clock"), time.Duration.String}
		r.clock.set(0)
	case diskFull:
		if os.Geteuid() != 0 {
			r.nemesis = noNemesis
			r.Logf("NOT PROVED HERE: a small disk needs root")
			return end
		}
		r.disk = smallDisk(r, smallDiskBytes)
		m := &memory{kind: sqlite, url: "sqlite:" + filepath.Join(r.disk, "store.db")}
		m.direct = m.url
		m.reader = m.openReader(r)
		*r.memory = *m
	}
	if r.kind == postgres {
		*r.memory = *r.proxied(r)
	}
	return end
}

// strikes lets the nemesis act until the fury ends. Everything works again when
// it returns.
func (r *round) strikes(rng *rand.Rand, end time.Time) {
	some := func(from, to time.Duration) time.Duration { return from + time.Duration(rng.Int64N(int64(to-from))) }
	for time.Now().Add(campaignFury / 8).Before(end) {
		time.Sleep(some(campaignFury/8, campaignFury/3))
		away := some(campaignLease/8, 2*campaignLease)
		switch r.nemesis {
		case ledgerKilled:
			r.books.end()
			time.Sleep(away)
			r.books.start(r)
		case ledgerStopped:
			r.signalLedger(syscall.SIGSTOP)
			time.Sleep(away)
			r.signalLedger(syscall.SIGCONT)
		case serverKilled:
			r.server.Kill(r)
			r.server.Restart(r)
		case serverStopped:
			r.server.Pause(r)
			time.Sleep(away)
			r.server.Resume(r)
		case clockJumps:
			r.clock.set(time.Duration(rng.IntN(3)-1) * clockJump)
		case diskFull:
			junk := filepath.Join(r.disk, "junk")
			fill(r, junk)
			time.Sleep(away)
			if err := os.Remove(junk); err != nil {
				r.Error(err)
			}
		default:
			return
		}
		r.note(string(r.nemesis), 1)
	}
}

func (r *round) signalLedger(s syscall.Signal) {
	if err := r.books.cmd.Process.Signal(s); err != nil {
		r.Error(err)
	}
}

// calm is the clock that a round's last processes go by: past every lease that
// a clock which was ahead has written.
func (r *round) calm() {
	if r.clock != nil {
		r.clock.set(clockJump + time.Minute)
	}
}
