package mcpcall

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/onceguard/onceguard"
)

// answer turns what the guard returned into what the client is told.
func (g *Gate) answer(ctx context.Context, c *call, p plan, receipt onceguard.Receipt[[]byte], err error, o *own) Reply {
	ctx = context.WithoutCancel(ctx) // the client may have left; the answer is for its next call
	h := Handle{receipt.RequestID, c.turn}
	var e *onceguard.Error
	switch {
	case err == nil && !receipt.Replayed:
		return Reply{Result: receipt.Value, Handle: h}
	case err == nil:
		r := Reply{Result: receipt.Value, Verdict: Replayed, Handle: h}
		if s, _ := shapeOf(r.Result); s == shapeInput {
			r.Verdict = Awaiting
		}
		if p.note {
			r.Result = g.noted(r.Result, c, wordOf(receipt))
		}
		return r
	case !errors.As(err, &e):
		return g.uncertain(c, onceguard.Record{ID: receipt.RequestID}, o)
	}
	rec := onceguard.Record{ID: e.RequestID, State: e.State, Attempt: e.Attempt, Since: e.Since, SettledBy: e.SettledBy, Reason: e.Reason, UnknownAttempt: e.MayHaveRun && e.Code == onceguard.ErrNotExecuted}
	switch e.Code {
	case onceguard.ErrRefused:
		if len(receipt.Value) > 0 {
			r := Reply{Result: receipt.Value, Handle: h}
			if receipt.Replayed {
				r.Verdict = Refused
			}
			return r
		}
		if !receipt.Replayed && o.reply.Error != nil {
			return Reply{Error: o.reply.Error, Handle: h}
		}
		return g.refused(c, rec)
	case onceguard.ErrUncertain:
		if o.shape == shapeTask {
			return Reply{Result: o.reply.Result, Handle: h}
		}
		if n, err := g.notes(ctx, c.guard, rec); err == nil && n.task != nil {
			return Reply{Result: n.task.Handle, Verdict: InProgress, Handle: h}
		}
		return g.uncertain(c, rec, o)
	case onceguard.ErrNotExecuted:
		if o.reply.Result != nil || o.reply.Error != nil {
			return o.reply // the upstream's own refusal says it best
		}
		return g.notRun(c, rec, "the call did not reach the server")
	case onceguard.ErrInProgress:
		return g.inFlight(c, rec, e.RetryAfter)
	case onceguard.ErrMismatch:
		if c.how.Identity.Business() && !c.continues {
			return g.drift(ctx, c, onceguard.Record{ID: e.RequestID})
		}
		return g.conflict(c)
	case onceguard.ErrUnsettled:
		return g.unsettled(c, rec, o)
	case onceguard.ErrNoResult, onceguard.ErrUndecodable, onceguard.ErrCorrupt:
		if o.reply.Result != nil && len(receipt.Value) > 0 {
			return Reply{Result: receipt.Value, Handle: h} // ours, too large to keep
		}
		return g.noResult(c, rec)
	case onceguard.ErrExpired:
		return g.expired(c, rec)
	case onceguard.ErrFrozen:
		return g.frozen(c, rec)
	case onceguard.ErrInvalid:
		return g.invalid(err)
	}
	return g.notRun(c, rec, string(e.Code))
}

// fromRecord answers from a settled receipt.
func (g *Gate) fromRecord(ctx context.Context, c *call, rec onceguard.Record, note bool) Reply {
	body, err := c.guard.OpenResult(ctx, rec)
	switch {
	case err != nil && rec.State == onceguard.Failed:
		return g.refused(c, rec)
	case err != nil:
		return g.noResult(c, rec)
	}
	r := Reply{Result: json.RawMessage(body), Verdict: Replayed, Handle: Handle{rec.ID, c.turn}}
	if rec.State == onceguard.Failed {
		r.Verdict = Refused
	}
	if note {
		r.Result = g.noted(r.Result, c, wordOfRecord(rec))
	}
	return r
}

func isMismatch(err error) bool { return errors.Is(err, onceguard.ErrMismatch) }
