package mcpcall

import (
	"context"
	"errors"

	"github.com/onceguard/onceguard"
)

// plan is what was decided about a call.
type plan struct {
	key  onceguard.Key // the receipt to run, join or replay through the guard
	note bool          // a replay of it says that it is one
	stop *Reply        // instead: the answer, and nothing runs
}

func stop(r Reply) plan { return plan{stop: &r} }

// decide finds the receipt that a call means. It may be wrong by the time the
// claim is sent; the claim decides, on a key that does not depend on when it was
// asked for.
func (g *Gate) decide(ctx context.Context, c *call) (plan, error) {
	ch, err := g.chainOf(c)
	if err != nil {
		return plan{}, invalidParams{err}
	}
	names, err := g.names(c)
	if err != nil {
		return plan{}, err
	}
	at, bound, err := g.look(ctx, c, ch, names)
	if err != nil {
		return plan{}, err
	}
	says := g.secret.hex("says", string(c.says))
	var p plan
	b := binding{Says: says}
	if len(bound) > 0 {
		if b, err = one(bound); err != nil || b.Says != says {
			return stop(g.conflict(c)), nil
		}
	} else {
		if p, err = g.judge(ctx, c, ch, at); err != nil || p.stop != nil || len(names) == 0 {
			return p, err
		}
		b.Key = p.key.Encoded()
	}
	if len(bound) < len(names) {
		// The binding is durable before anything is claimed: the same name then
		// meets the same receipt, also if this process dies right here.
		if b, err = g.bind(ctx, c.guard, c.tool, names, b, c.keepFor(), at.now); errors.Is(err, errTwoReceipts) {
			return stop(g.conflict(c)), nil
		} else if err != nil {
			return p, err
		}
		if b.Says != says {
			return stop(g.conflict(c)), nil
		}
		if len(bound) == 0 && b.Key == p.key.Encoded() {
			return p, g.list(ctx, c, p.key, at.now)
		}
	}
	key, err := onceguard.ParseKey(b.Key)
	if err != nil {
		return p, err
	}
	return g.known(ctx, c, key)
}

// look reads the rows of the names and the head of the chain, at first in one
// round trip.
func (g *Gate) look(ctx context.Context, c *call, ch chain, names []name) (at head, bound []binding, err error) {
	var ids []onceguard.RequestID
	for _, n := range names {
		ids = append(ids, n.id)
	}
	for n := range 2 {
		id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, ch.key(n))
		if err != nil {
			return at, nil, err
		}
		ids = append(ids, id)
	}
	answers, err := g.get(ctx, c.guard, ids...)
	if err != nil {
		return at, nil, err
	}
	if bound, err = g.bindings(ctx, c.guard, answers[:len(names)]); err != nil {
		return at, nil, err
	}
	at, err = g.latest(ctx, c, ch, answers[len(names)], answers[len(names)+1])
	return at, bound, err
}

// known plans a call whose receipt is known by name: the same call again.
func (g *Gate) known(ctx context.Context, c *call, key onceguard.Key) (plan, error) {
	id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, key)
	if err != nil {
		return plan{}, err
	}
	answers, err := g.get(ctx, c.guard, id)
	if err != nil {
		return plan{}, err
	}
	f, err := g.follow(ctx, c, answers[0])
	if err != nil {
		return plan{}, err
	}
	if f.open != nil {
		return stop(*f.open), nil
	}
	if f.moved && f.rec.State.Final() {
		return stop(g.fromRecord(ctx, c, f.rec, false)), nil
	}
	if answers[0].Outcome != onceguard.Found {
		return plan{key: key}, g.list(ctx, c, key, answers[0].Now)
	}
	return plan{key: key}, nil
}

// judge decides about a call that nothing named before: is it a retry of the
// latest occurrence, or a repeat?
func (g *Gate) judge(ctx context.Context, c *call, ch chain, at head) (plan, error) {
	own := c.key != "" && !c.how.Identity.Business() // an explicit key is an intention of its own
	fresh := plan{key: ch.key(max(at.n, 0))}
	next := plan{key: ch.key(at.n + 1)}
	if own {
		fresh, next = plan{key: explicitKey(c.key)}, plan{key: explicitKey(c.key)}
	} else if n, ok := g.redeemed(c, ch); ok {
		return g.redeem(ctx, c, ch, n)
	}
	if at.n >= maxOccurrence-1 {
		return plan{}, errors.New("this call was repeated too often")
	}
	if c.key == "" && !c.how.Identity.Business() {
		var err error
		if at, err = g.strictest(ctx, c, at); err != nil {
			return plan{}, err
		}
	}
	if at.n < 0 && at.keyed.Encoded() == "" {
		return fresh, nil
	}
	same := plan{key: at.key(ch)}
	switch at.rec.State {
	case onceguard.Failed:
		return next, nil // it surely did not happen, and its refusal was for that try
	case onceguard.Released:
		if !at.rec.UnknownAttempt {
			if own {
				return fresh, nil
			}
			return same, nil
		}
		return same, nil
	}
	if stopped, drifted := g.drifted(ctx, c, same.key, at.rec); drifted {
		return stop(stopped), nil
	}
	f, err := g.follow(ctx, c, onceguard.Answer{Outcome: onceguard.Found, Record: at.rec, Now: at.now})
	switch {
	case err != nil:
		return plan{}, err
	case f.open != nil && f.root.allowed(at.now):
		return next, nil // a person gave up on the question that stands
	case f.open != nil:
		return stop(*f.open), nil
	case f.rec.State == onceguard.Failed:
		return next, nil
	case f.rec.State != onceguard.Succeeded:
		return same, nil
	}
	return g.repeat(ctx, c, ch, at, f, same, next)
}

// drifted compares a call with the receipt of its business key. What the store
// cannot compare is left to the claim.
func (g *Gate) drifted(ctx context.Context, c *call, key onceguard.Key, rec onceguard.Record) (Reply, bool) {
	if !c.how.Identity.Business() {
		return Reply{}, false
	}
	_, err := c.guard.Preview(ctx, g.request(c, key))
	if !errors.Is(err, onceguard.ErrMismatch) {
		return Reply{}, false
	}
	return g.drift(ctx, c, rec), true
}
