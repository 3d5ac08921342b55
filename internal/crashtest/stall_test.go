//go:build linux

package crashtest_test

import (
	"sync"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
)

// stalls notes when this machine kept processes waiting for so long that leases
// may have ended on their own: a fault that no test ordered. A cell that came
// out otherwise than written while one happened is run again.
var stalls struct {
	sync.Mutex
	at []time.Time
}

const stall = crashtest.DefaultLease / 5

func watchStalls() {
	for last := time.Now(); ; {
		time.Sleep(10 * time.Millisecond)
		now := time.Now()
		if now.Sub(last) > stall {
			stalls.Lock()
			stalls.at = append(stalls.at, now)
			stalls.Unlock()
		}
		last = now
	}
}

// stalledSince reports whether the machine stalled after t.
func stalledSince(t time.Time) bool {
	stalls.Lock()
	defer stalls.Unlock()
	return len(stalls.at) > 0 && stalls.at[len(stalls.at)-1].After(t)
}
