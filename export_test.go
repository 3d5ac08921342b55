package onceguard

import (
	"context"
	"time"

	"github.com/onceguard/onceguard/internal/bootclock"
)

// OnClock makes a guard judge its leases by c, such as bootclock.Monotonic,
// which follows the fake time of testing/synctest.
func (o Options) OnClock(c bootclock.Clock) Options {
	o.clock = c
	return o
}

// Codes lists every code, for tests that must not miss one.
var Codes = []Code{
	ErrInProgress, ErrUncertain, ErrRefused, ErrMismatch, ErrNoResult, ErrExpired, ErrNotRun, ErrUnsettled,
	ErrUndecodable, ErrCorrupt, ErrFrozen, ErrKeyMissing, ErrNotExecuted, ErrStale, ErrInvalid,
}

// Events lists every event kind.
var Events = []EventKind{
	EventClaimed, EventReplayed, EventSettled, EventReleased, EventWaiting, EventUncertain, EventMismatch, EventConflict,
	EventSuperseded, EventLeaseLost, EventMaxRun, EventStoreRetry, EventUnsettled, EventFrozen, EventCorrupt,
	EventForgotten, EventWarning, EventResolved, EventSwept, EventPruned,
}

// ShareReplays makes g read the receipts that other keeps in memory.
func (g *Guard) ShareReplays(other *Guard) { g.replays = other.replays }

// KeptReplays counts the receipts in memory.
func (g *Guard) KeptReplays() (n int) {
	for i := range g.replays.shards {
		n += len(g.replays.shards[i].m)
	}
	return n
}

// KeptBytes is how much memory the receipts are taken to use.
func (g *Guard) KeptBytes() (n int) {
	for i := range g.replays.shards {
		n += g.replays.shards[i].used
	}
	return n
}

// KeptBodies lists the bodies in memory.
func (g *Guard) KeptBodies() (bodies [][]byte) {
	for i := range g.replays.shards {
		for _, k := range g.replays.shards[i].m {
			bodies = append(bodies, k.result.Body)
		}
	}
	return bodies
}

// FillReplays keeps a record as if a store had answered with it.
func (g *Guard) FillReplays(r Record, now time.Time) {
	sent, _ := g.replays.sent()
	g.replays.keep(Answer{Outcome: Settled, Record: r, Now: now}, sent)
}

// LookUp reads the receipt in memory.
func (g *Guard) LookUp(id RequestID) bool {
	_, ok := g.replays.get(id)
	return ok
}

// Prepared is the replay of a request whose identity and fingerprint are
// computed: what a call costs below the typed layer.
func (g *Guard) Prepared(ctx context.Context, r Request) func() bool {
	c, err := g.prepare(ctx, r, nil)
	if err != nil {
		panic(err)
	}
	return func() bool {
		end, ok := c.recall(ctx)
		return ok && end.err == nil
	}
}
