package onceguard

import (
	"context"
	"fmt"

	"github.com/onceguard/onceguard/internal/fault"
)

// Resolve records a person's decision about an uncertain request (T13). Who is
// ByOperator; name and reason are required, kept as evidence and shown on every
// replay. The decision is bound to the attempt that the person looked at: if
// the record moved on, nothing changes and the error is ErrStale.
//
// ResolveRunAgain releases the request although an attempt may have happened:
// the receipt is marked as waived for good, and a paused owner can still send.
// Ask for a typed confirmation before you call it.
//
// Result.Body is the plain encoded value, as the action's codec writes it; it
// is sealed here where the guard encrypts bodies. The zero Result means that no
// value is known: replays then say ErrNoResult.
func (g *Guard) Resolve(ctx context.Context, r Resolution) (Record, error) {
	r.Who = ByOperator
	return g.resolve(ctx, r)
}

func (c *core) resolve(ctx context.Context, r Resolution) (Record, error) {
	if err := r.Validate(); err != nil {
		return Record{}, &Error{Code: ErrInvalid, RequestID: r.ID, Store: c.name, MayHaveRun: true, Err: err}
	}
	if r.Result.Missing == HasBody && r.Result.Body == nil && r.Result.Type == "" {
		r.Result.Missing = BodyNotKept // no value was given; an empty one would not decode
	}
	if r.Result.Missing == HasBody && (r.Verdict == ResolveHappened || r.Verdict == ResolveRefused) {
		ring, err := c.keys(ctx, false)
		if err != nil {
			return Record{}, err
		}
		r.Result = ring.sealResult(r.ID, r.Result.Type, r.Result.Body)
	}
	sctx, cancel := c.detached(ctx)
	defer cancel()
	fault.Point("resolve.before")
	a, err := c.store.Resolve(sctx, r)
	fault.Point("resolve.after")
	if err == nil {
		err = a.Err
	}
	if err != nil {
		return Record{}, &Error{Code: ErrUncertain, RequestID: r.ID, Store: c.name, State: Uncertain, MayHaveRun: true, Reason: "whether the decision is stored is not known; the same decision may be sent again", Err: err}
	}
	rec := a.Record
	ev := Event{Kind: EventResolved, RequestID: r.ID, Scope: rec.Scope, Action: rec.Action, Attempt: r.Attempt, State: rec.State, Transition: a.Transition, Detail: r.settledBy() + ": " + r.Verdict.String()}
	switch {
	case a.Outcome == Applied, r.Verdict == ResolveNote && a.Outcome == Parked, r.Verdict == ResolvePark && a.Outcome == Parked:
		c.observe(ctx, ev)
		return rec, nil
	case a.Outcome == Missing:
		return rec, &Error{Code: ErrInvalid, RequestID: r.ID, Store: c.name, Reason: "there is no such request"}
	default:
		if a.Transition == T14 {
			ev.Kind = EventConflict
			c.observe(ctx, ev)
		}
		return rec, &Error{
			Code: ErrStale, RequestID: r.ID, Scope: rec.Scope, Action: rec.Action, Key: rec.Key, Store: c.name,
			State: rec.State, Attempt: rec.Attempt, Since: rec.Since, SettledBy: rec.SettledBy, MayHaveRun: rec.State.MayHaveRun(),
			Reason: fmt.Sprintf("the record is %s at attempt %d, settled by %q; the decision was about an uncertain attempt %d", rec.State, rec.Attempt, rec.SettledBy, r.Attempt),
		}
	}
}
