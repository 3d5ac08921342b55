package onceguard

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/internal/mutant"
)

// Causes that an effect's context ends with, for context.Cause.
var (
	// ErrLeaseLost: the claim's lease could not be kept. The attempt may be
	// parked or taken over; a late result is still reported.
	ErrLeaseLost = errors.New("onceguard: the lease of this attempt is lost")
	// ErrMaxRun: the effect ran longer than MaxRun.
	ErrMaxRun = errors.New("onceguard: the effect ran longer than MaxRun")
)

// fence is the self-fence: past its deadline this process must not start the
// effect. The deadline counts from before the latest claim or renewal was
// sent, on a clock that counts suspend, and keeps a margin of a fifth of the
// lease (at most 5 s) for clocks that run at different speeds. It narrows the
// window between the last check and the first byte sent and cannot close it.
type fence struct {
	lease time.Duration

	mu   sync.Mutex
	sent bootclock.Instant
	good time.Duration // after sent
}

func newFence(sent bootclock.Instant, lease time.Duration, a Answer) *fence {
	f := &fence{lease: lease}
	f.extend(sent, a)
	return f
}

// extend moves the deadline after the store answered what was sent at sent.
func (f *fence) extend(sent bootclock.Instant, a Answer) {
	good := f.lease
	if left, ok := a.Record.HorizonLeft(a.Now); ok {
		good = min(good, left)
	}
	f.mu.Lock()
	f.sent, f.good = sent, good-min(f.lease/5, 5*time.Second)
	f.mu.Unlock()
}

// left is the time until the deadline; not positive means do not start. A
// clock that fails says the same.
func (f *fence) left() time.Duration {
	if mutant.On("self-fence-ignored") {
		return f.lease
	}
	f.mu.Lock()
	sent, good := f.sent, f.good
	f.mu.Unlock()
	elapsed, err := sent.Elapsed()
	if err != nil {
		return 0
	}
	return good - elapsed
}

// keeper renews the lease of a running attempt, at thirds of the lease. It is a
// timer, not a goroutine: most effects end before it fires once.
type keeper struct {
	c      *call
	g      grant
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	stopped bool
}

func (c *call) keep(g grant, cancel context.CancelCauseFunc) *keeper {
	k := &keeper{c: c, g: g, cancel: cancel}
	k.mu.Lock()
	k.timer = time.AfterFunc(c.claim.Lease/3, k.renew)
	k.mu.Unlock()
	return k
}

// end stops renewal; a renewal that is under way may still arrive, and the
// store refuses it where the record has moved on.
func (k *keeper) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	k.timer.Stop()
}

func (k *keeper) again(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stopped {
		k.timer.Reset(d)
	}
}

func (k *keeper) renew() {
	sent, err := k.c.opts.clock.Now()
	if err != nil {
		k.lose(err)
		return
	}
	// No longer than the fence holds: a store that hangs must not keep us
	// believing in a lease that others may already end.
	ctx, cancel := context.WithTimeout(context.Background(), max(min(k.c.claim.Lease/3, k.g.fence.left()), 100*time.Millisecond))
	defer cancel()
	answers, err := k.c.store.Renew(ctx, []Renewal{{ID: k.c.claim.ID, Attempt: k.g.answer.Record.Attempt, Owner: k.g.token, Lease: k.c.claim.Lease}})
	if err == nil {
		err = answers[0].Err
	}
	switch {
	case err == nil && answers[0].Outcome == Applied:
		k.g.fence.extend(sent, answers[0])
		k.again(k.c.claim.Lease / 3)
	case err == nil:
		// Parked or taken over (the store's clock jumped, somebody was sure
		// that we are dead). The effect may go on and its result still counts.
		k.lose(errors.New("the store answered " + answers[0].Outcome.String()))
	case k.g.fence.left() <= 0:
		k.lose(err)
	default:
		k.again(min(k.c.claim.Lease/10, k.g.fence.left()))
	}
}

func (k *keeper) lose(err error) {
	k.mu.Lock()
	stopped := k.stopped
	k.stopped = true
	k.mu.Unlock()
	if stopped {
		return
	}
	ev := k.c.event(EventLeaseLost, k.g.answer.Record)
	ev.Err = err
	k.c.observe(context.Background(), ev)
	k.cancel(ErrLeaseLost)
}
