package onceguard

import (
	"context"
	"errors"
	"time"

	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/mutant"
	"github.com/onceguard/onceguard/internal/process"
)

// lead speaks to the store for this process until there is an ending. It lands
// the flight however it ends, a panic of the effect included.
func (c *call) lead(ctx, wait context.Context, fl *flight) (end ending) {
	defer func() { c.flights.land(c.claim.ID, fl, end) }()
	ran := false // under an attempt that another one superseded
	defer func() { end = c.afterRun(end, ran) }()
	if c.transact != nil {
		return c.leadTx(ctx, wait)
	}
	for {
		fault.Point("guard.claim.before")
		sent, timed := c.replays.sent()
		g, e := c.win(ctx)
		if e != nil {
			return *e
		}
		switch g.answer.Outcome {
		case Granted:
			fault.Point("guard.claim.after")
			fl.tell(g.answer.Record)
			end, superseded := c.run(ctx, g)
			if !superseded {
				return end
			}
			ran = ran || end.err != nil
		case Settled:
			c.remember(g.answer, sent, timed)
			return c.replay(ctx, g.answer.Record)
		case Parked:
			if mutant.On("cache-keeps-open") {
				c.remember(g.answer, sent, timed)
			}
			return ending{record: g.answer.Record, err: c.uncertain(ctx, g.answer.Record, nil)}
		}
		// Held: somebody else's claim. Only read until it changes.
		if g.answer.Outcome == Held {
			fl.tell(g.answer.Record)
			if c.parkDead(ctx, g.answer.Record) {
				continue
			}
			a, ok := c.watch(ctx, wait, g.answer)
			if !ok {
				return ending{record: a.Record, err: c.inProgress(ctx, a.Record, a.Record.LeaseLeft(a.Now))}
			}
		}
	}
}

// afterRun corrects what a later try of this call came to. Its own effect ran
// under an attempt that another one superseded, so that "nothing was run" would
// not be true, however this try failed.
func (c *call) afterRun(end ending, ran bool) ending {
	var e *Error
	if !ran || !errors.As(end.err, &e) || e.MayHaveRun {
		return end
	}
	honest := c.fail(ErrUncertain, true, "this call ran the effect, another attempt superseded it, and then: "+e.Code.Error(), end.err)
	if e.Code != ErrMismatch {
		honest.State = Claimed // by the other attempt
	}
	return ending{record: end.record, raw: end.raw, err: honest}
}

// parkDead parks an at-most-once claim at once when all processes that hold it
// are dead on this host. Parking early is always safe: it only says "unknown"
// sooner, and a late result still settles.
func (c *call) parkDead(ctx context.Context, r Record) bool {
	if r.Policy.repeats() {
		return false
	}
	owners, err := process.ParseList(r.Process)
	if err != nil || len(owners) == 0 || !process.AllDead(owners) {
		return false
	}
	sctx, cancel := c.detached(ctx)
	defer cancel()
	a, err := c.store.Resolve(sctx, Resolution{
		ID: r.ID, Attempt: r.Attempt, Verdict: ResolvePark, Who: BySweeper, Reason: "the owner's process is dead on this host",
	})
	return err == nil && a.Err == nil && a.Outcome != Stale
}

// watch polls a claim that another process holds, and returns the latest
// reading. ok is true when it may be claimed or answered: final, uncertain,
// released, or its lease is over.
func (c *call) watch(ctx, wait context.Context, a Answer) (latest Answer, ok bool) {
	c.observe(ctx, c.event(EventWaiting, a.Record))
	for n := 0; ; n++ {
		pause := min(500*time.Millisecond, 10*time.Millisecond<<min(n, 8))
		if left := a.Record.LeaseLeft(a.Now); left > 0 {
			pause = min(pause, left+time.Millisecond)
		}
		t := time.NewTimer(jitter(pause))
		select {
		case <-t.C:
		case <-wait.Done():
			t.Stop()
			return a, false
		}
		sctx, cancel := c.detached(ctx)
		answers, err := c.store.Get(sctx, []RequestID{c.claim.ID})
		cancel()
		if err != nil || answers[0].Err != nil {
			continue // only a read; the wait's end bounds the tries
		}
		a = answers[0]
		if a.Outcome == Missing || a.Record.State != Claimed || a.Record.LeaseLeft(a.Now) <= 0 || c.parkDead(ctx, a.Record) {
			return a, true
		}
	}
}

// grant is a store's answer to a claim with what the guard knows about it.
type grant struct {
	answer Answer
	token  Token
	fence  *fence
}

// win sends a claim until it is answered. Crash analysis: a process that dies
// before the send leaves nothing; one that dies after it may leave a claim,
// which is parked or taken over by rule when its lease ends.
func (c *call) win(ctx context.Context) (grant, *ending) {
	reloaded := false
	for tries := 0; ; tries++ {
		g, err := c.send(ctx)
		if err != nil {
			return g, &ending{err: err, shared: ctx.Err() == nil}
		}
		switch g.answer.Outcome {
		case Granted, Held, Settled:
			return g, nil
		case Parked:
			if !g.answer.Mine {
				return g, nil
			}
			// Our own claim, parked before we heard that we had it: nothing was
			// started under it (T10), so say so and claim anew.
			c.settle(ctx, c.settlement(g, SettleReleased, "never started: the claim's answer came late"), nil)
		case Fenced:
			// A resend of this call met its own released claim: draw a new token.
		case KeyUnknown:
			if reloaded {
				return g, &ending{err: c.fail(ErrKeyMissing, true, "the record names fingerprint "+g.answer.Record.Fingerprint.String(), nil)}
			}
			reloaded = true
			ring, err := c.keys(ctx, true)
			if err != nil {
				return g, &ending{err: c.fail(ErrKeyMissing, true, "reading the store's keys again failed", err)}
			}
			c.claim.Fingerprints = ring.sums(c.kind, c.meaning)
		default:
			e := c.refusedClaim(ctx, g.answer)
			return g, &e
		}
		if tries > 8 {
			return g, &ending{err: c.fail(ErrNotRun, false, "the store goes on answering "+g.answer.Outcome.String()+" to new claims", nil)}
		}
	}
}

// refusedClaim ends a call whose claim the store turned down for good.
func (c *call) refusedClaim(ctx context.Context, a Answer) ending {
	switch a.Outcome {
	case Mismatched:
		return c.mismatch(ctx)
	case Parked:
		return ending{record: a.Record, err: c.uncertain(ctx, a.Record, nil)}
	case TooOld:
		return ending{err: c.fail(ErrExpired, false, "the key was issued "+c.claim.IssuedAt.UTC().Format(time.RFC3339), nil)}
	case Frozen:
		c.observe(ctx, c.event(EventFrozen, Record{}))
		return ending{err: c.fail(ErrFrozen, false, "the store's epoch changed", nil)}
	default:
		return ending{err: c.fail(ErrNotRun, false, "the store answered "+a.Outcome.String()+" to a claim", nil)}
	}
}

// send is one claim call: one token, sent again until the store answers. It
// gives up when the caller ends or the store stays silent, and then gives back
// in the background what it may have won.
func (c *call) send(ctx context.Context) (grant, error) {
	g := grant{token: newToken()}
	claim := c.claim
	claim.Owner = g.token
	unclear := false
	giveUp := time.NewTimer(c.opts.StoreTimeout)
	defer giveUp.Stop()
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			c.abandon(ctx, claim, unclear)
			return g, c.fail(ErrNotRun, false, "the caller ended before the effect started", context.Cause(ctx))
		}
		if n > 1 && mutant.On("token-per-resend") {
			g.token = newToken()
			claim.Owner = g.token
		}
		start, err := c.opts.clock.Now()
		if err != nil {
			c.abandon(ctx, claim, unclear)
			return g, c.fail(ErrNotRun, false, "the clock that judges leases failed", err)
		}
		g.answer, err = c.ask(ctx, claim)
		if err == nil {
			g.fence = newFence(start, claim.Lease, g.answer)
			return g, nil
		}
		unclear = unclear || !cleanFailure(err)
		ev := c.event(EventStoreRetry, Record{})
		ev.Detail, ev.Err = "claim", err
		c.observe(ctx, ev)
		expired := false
		select {
		case <-giveUp.C:
			expired = true
		default:
		}
		if expired || permanentFailure(err) || !c.backoff(ctx.Done(), n) {
			if mutant.On("fail-open") {
				g.answer = Answer{Outcome: Granted, Record: claim.FirstRecord(time.Now())}
				g.fence = newFence(start, claim.Lease, g.answer)
				return g, nil
			}
			c.abandon(ctx, claim, unclear)
			return g, c.fail(ErrNotRun, false, "the store did not take the claim", err)
		}
	}
}

func (c *call) ask(ctx context.Context, claim Claim) (Answer, error) {
	sctx, cancel := c.detached(ctx)
	defer cancel()
	answers, err := c.store.Claim(sctx, []Claim{claim})
	if err != nil {
		return Answer{}, err
	}
	return answers[0], answers[0].Err
}

// abandon gives back a claim that may have been won without our hearing of it,
// so that it need not become uncertain. It goes on in the background for a
// lease at most; after that the lease's end decides.
func (c *call) abandon(ctx context.Context, claim Claim, unclear bool) {
	if !unclear || mutant.On("abandoned-claim-kept") {
		return
	}
	ctx = context.WithoutCancel(ctx)
	c.background.Go(func() {
		until, cancel := context.WithTimeout(c.stop, claim.Lease)
		defer cancel()
		for n := 1; c.backoff(until.Done(), n); n++ {
			a, err := c.ask(ctx, claim) // T2 with the same token: a definite answer
			if err != nil {
				continue
			}
			if a.Outcome == Granted || (a.Outcome == Parked && a.Mine) {
				g := grant{answer: a, token: claim.Owner}
				c.settle(ctx, c.settlement(g, SettleReleased, "never started: the caller was told that the store did not answer"), nil)
			}
			return
		}
	})
}
