package onceguard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/mutant"
)

// errSuperseded is the ending of an attempt that ran and is no longer the one
// that counts.
var errSuperseded = errors.New("another attempt superseded this one")

// run executes one granted attempt on the caller's goroutine and settles it.
// superseded is true when another attempt owns the request by now: the caller
// then waits for that one like any duplicate.
//
// Crash analysis. Before the effect starts: the claim stays and, under
// at-most-once, becomes uncertain although nothing happened; nobody can tell
// from outside. While it runs and before the settle is durable: the same, and
// it may have happened. After the settle: every later call replays it.
func (c *call) run(ctx context.Context, g grant) (end ending, superseded bool) {
	rec := g.answer.Record
	c.observe(ctx, c.event(EventClaimed, rec))
	ring, _ := c.keys(ctx, false)
	if why, cause := c.notReady(ctx, g); why != "" {
		a, err := c.settle(ctx, c.settlement(g, SettleReleased, why), nil)
		if err == nil && a.Outcome == Applied {
			c.observe(ctx, c.event(EventReleased, a.Record))
		}
		return ending{record: a.Record, err: c.fail(ErrNotRun, rec.UnknownAttempt, why, cause)}, false
	}

	ectx, cancel := context.WithCancelCause(enclose(context.WithoutCancel(ctx), c.claim.ID))
	defer cancel(nil)
	k := c.keep(g, cancel)
	defer k.end()
	overdue := c.limitRun(g, k, cancel)
	defer overdue.Stop()

	returned := false
	defer func() {
		if returned {
			return
		}
		// A panic or runtime.Goexit: the effect may have happened. Store that,
		// then let the panic go on; recover returns nil for Goexit.
		p := recover()
		reason := "the effect ended its goroutine (runtime.Goexit)"
		if p != nil {
			reason = fmt.Sprintf("the effect panicked: %v", p)
		}
		verb := SettleUnknown
		if mutant.On("panic-is-refused") {
			verb = SettleFailed
		}
		a, _ := c.settle(ctx, c.settlement(g, verb, reason), nil)
		end = ending{record: a.Record, err: c.fail(ErrUncertain, true, reason, nil)}
		if p != nil {
			panic(p) // the trace still shows the effect's own frames
		}
	}()
	start := time.Now()
	fault.Point("guard.effect.before")
	result, raw, err := c.effect(ectx, &Attempt{c: c, g: g, k: ring})
	fault.Point("guard.effect.after")
	s := c.outcome(g, result, err) // the methods of err are the effect's code and may panic like it
	returned = true
	overdue.Stop()
	return c.finish(ctx, s, raw, err, time.Since(start))
}

// notReady says why the effect must not start any more; empty when it may.
func (c *call) notReady(ctx context.Context, g grant) (string, error) {
	if ctx.Err() != nil {
		return "the caller ended before the effect started", context.Cause(ctx)
	}
	if g.fence.left() <= 0 {
		return "the process was paused longer than the lease or the downstream key's horizon, before the effect started", ErrLeaseLost
	}
	return "", nil
}

// limitRun ends the effect's context after MaxRun, stops renewal, and under
// at-most-once says at once that nobody knows (T9), so that waiters need not
// wait for the lease. A late result still settles.
func (c *call) limitRun(g grant, k *keeper, cancel context.CancelCauseFunc) *time.Timer {
	return time.AfterFunc(c.limits.MaxRun, func() {
		k.end()
		c.observe(context.Background(), c.event(EventMaxRun, g.answer.Record))
		cancel(ErrMaxRun)
		if g.answer.Record.Policy.repeats() {
			return
		}
		ctx, done := context.WithTimeout(context.Background(), c.opts.StoreTimeout)
		defer done()
		// One try: if it is lost, the lease's end says the same.
		_, _ = c.store.Settle(ctx, []Settlement{c.settlement(g, SettleUnknown, fmt.Sprintf("the effect runs longer than MaxRun (%s)", c.limits.MaxRun))})
	})
}

func (c *call) settlement(g grant, v Verb, reason string) Settlement {
	return Settlement{ID: c.claim.ID, Attempt: g.answer.Record.Attempt, Owner: g.token, Verb: v, Reason: reason}
}

// outcome is the settlement that says what the effect returned.
func (c *call) outcome(g grant, result Result, err error) Settlement {
	s := c.settlement(g, verbOf(err), "")
	if err != nil {
		s.Reason = err.Error()
	}
	if s.Verb == SettleSucceeded || s.Verb == SettleFailed {
		s.Result = result
	}
	return s
}

// finish stores an outcome and answers from what is stored.
func (c *call) finish(ctx context.Context, s Settlement, raw any, err error, took time.Duration) (ending, bool) {
	sent, timed := c.replays.sent()
	if s.Verb == SettleSucceeded && mutant.On("answer-before-durable") {
		c.background.Go(func() { _, _ = c.settle(ctx, s, raw) })
		return ending{record: Record{ID: s.ID, State: Succeeded, Attempt: s.Attempt, Result: s.Result}}, false
	}
	a, serr := c.settle(ctx, s, raw)
	if serr != nil {
		e := c.fail(ErrUnsettled, s.Verb != SettleReleased, "", serr)
		e.Value, e.Attempt, e.State = raw, s.Attempt, Claimed
		if err != nil {
			e.Err, e.Reason = err, fmt.Sprintf("the effect said %q; %v", err, serr)
		}
		c.observe(ctx, Event{Kind: EventUnsettled, RequestID: s.ID, Scope: c.claim.Scope, Action: c.claim.Action, Attempt: s.Attempt, Err: serr})
		return ending{raw: raw, err: e}, false
	}
	if a.Outcome == Settled {
		c.remember(a, sent, timed)
	}
	return c.settled(ctx, s, a, raw, err, took)
}

// settled answers the owner from what the store has. Whatever a caller is told
// is the stored receipt, also when somebody else wrote it first.
func (c *call) settled(ctx context.Context, s Settlement, a Answer, raw any, err error, took time.Duration) (ending, bool) {
	if match, known := a.Record.matches(c.claim); known && !match {
		// This attempt was given back, by its owner or by a lookup, and another
		// input has the request since: its receipt is not this caller's.
		return c.afterRun(c.mismatch(ctx), s.Verb != SettleReleased), false
	}
	ev := c.event(EventSettled, a.Record)
	ev.Transition, ev.Took = a.Transition, took
	switch a.Outcome {
	case Settled:
		if a.Transition == T14 {
			ev.Kind, ev.Detail = EventConflict, s.Reason
		}
		c.observe(ctx, ev)
		mine := a.Mine && a.Record.SettledBy == string(ByOwner) && a.Transition != T14
		return ending{record: a.Record, replayed: !mine, raw: raw, err: nil}, false
	case Parked:
		return ending{record: a.Record, raw: raw, err: c.uncertain(ctx, a.Record, err)}, false
	case Applied:
		if s.Verb == SettleReleased {
			return c.gaveBack(ctx, s, a, err), false
		}
		return ending{record: a.Record, raw: raw, err: c.uncertain(ctx, a.Record, err)}, false // T9b
	case Fenced:
		if s.Verb == SettleSucceeded || s.Verb == SettleFailed {
			ev.Kind = EventSuperseded
			c.observe(ctx, ev)
		}
		if a.Record.State == Released && s.Verb == SettleReleased {
			return c.gaveBack(ctx, s, a, err), false // so did another attempt since
		}
		if a.Record.State == Released {
			// A person or a lookup released it meanwhile. The next call may run
			// it again; this one, which just did, must not.
			return ending{record: a.Record, raw: raw, err: c.uncertain(ctx, a.Record, err)}, false
		}
		if s.Verb == SettleReleased {
			return ending{}, true // this attempt did nothing
		}
		return ending{err: errSuperseded}, true
	default: // Missing
		ev.Kind, ev.Detail = EventForgotten, "the store has no row for a claim that it acknowledged"
		c.observe(ctx, ev)
		e := c.fail(ErrUnsettled, s.Verb != SettleReleased, ev.Detail, err)
		e.Value, e.State, e.Attempt = raw, Absent, s.Attempt
		return ending{raw: raw, err: e}, false
	}
}

// gaveBack is the ending of an attempt that surely did nothing.
func (c *call) gaveBack(ctx context.Context, s Settlement, a Answer, err error) ending {
	c.observe(ctx, c.event(EventReleased, a.Record))
	e := c.fail(ErrNotExecuted, a.Record.UnknownAttempt, "", err)
	e.State, e.Attempt = Released, s.Attempt
	return ending{record: a.Record, err: e}
}
