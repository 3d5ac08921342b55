package onceguard

import (
	"math/rand/v2"
	"time"

	"github.com/onceguard/onceguard/internal/bounds"
)

// jitter spreads d over [d/2, d], so that waiters do not move in step.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	if bounds.Jitter != nil {
		return bounds.Jitter(d)
	}
	return d/2 + rand.N(d/2+1)
}
