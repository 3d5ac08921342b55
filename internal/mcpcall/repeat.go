package mcpcall

import (
	"context"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// repeat decides about a call whose latest occurrence happened.
func (g *Gate) repeat(ctx context.Context, c *call, ch chain, at head, f followed, same, next plan) (plan, error) {
	replay := func(note bool) plan {
		if f.moved {
			return stop(g.fromRecord(ctx, c, f.rec, note))
		}
		same.note = note
		return same
	}
	switch {
	case !f.notes.delivered:
		return replay(false), nil // nobody has the answer yet: it is a retry
	case c.key != "" && !c.how.Identity.Business():
		return next, nil // an explicit key says that it is another intention
	case f.notes.allowed(at.now) || f.root.allowed(at.now):
		return next, nil
	case c.turn != "" && f.notes.turns[c.turn]:
		return replay(true), nil // the model stutters within one turn
	case c.how.Repeat == mcppolicy.RepeatReplay:
		return replay(true), nil
	case c.how.Repeat == mcppolicy.RepeatNew:
		return next, nil
	case c.how.Repeat == mcppolicy.RepeatMoney && g.elicited(ctx, c, at.rec):
		return next, nil
	}
	return stop(g.softStop(ctx, c, ch, at, f.rec)), nil
}

// elicited asks the host's user. Leave is written down before it is used, so
// that it is known who gave it.
func (g *Gate) elicited(ctx context.Context, c *call, prior onceguard.Record) bool {
	if g.opts.Elicit == nil {
		return false
	}
	ok, err := g.opts.Elicit(ctx, c.Call, Question{Tool: c.tool, RequestID: prior.ID, Message: "The tool " + c.tool + " already did exactly this " + when(prior.Since) + ". Do it once more?"})
	if err != nil || !ok {
		return false
	}
	e := onceguard.Evidence{ID: prior.ID, Kind: kindRepeat, By: "host-user", Detail: "allowed when asked by the host", Body: compact(map[string]string{"by": "host-user"})}
	return g.note(ctx, e) == nil
}

// redeem plans a call with a good token: it is occurrence n, the first time and
// on every retry.
func (g *Gate) redeem(ctx context.Context, c *call, ch chain, n int) (plan, error) {
	id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, ch.key(n))
	if err != nil {
		return plan{}, err
	}
	answers, err := g.get(ctx, c.guard, id)
	if err != nil {
		return plan{}, err
	}
	rec := answers[0].Record
	if answers[0].Outcome != onceguard.Found || rec.State != onceguard.Succeeded {
		if rec.State == onceguard.Failed {
			return plan{key: ch.key(n + 1)}, nil // that try was refused; this is the next one
		}
		return plan{key: ch.key(n)}, nil
	}
	f, err := g.follow(ctx, c, answers[0])
	if err != nil {
		return plan{}, err
	}
	if f.open != nil {
		return stop(*f.open), nil
	}
	if f.moved {
		return stop(g.fromRecord(ctx, c, f.rec, f.notes.delivered)), nil
	}
	return plan{key: ch.key(n), note: f.notes.delivered}, nil
}
