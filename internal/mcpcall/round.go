package mcpcall

import (
	"context"

	"github.com/onceguard/onceguard"
)

// round plans a call that answers a question.
func (g *Gate) round(ctx context.Context, c *call) (plan, error) {
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
	digest := g.stateOf(c.hasState, c.state)
	slot := digest
	if !c.hasState {
		// The server keeps no state with the client: nothing but the answer
		// tells one round from the next.
		slot = g.secret.hex("responses", c.responses)
	}
	var roots []onceguard.Key
	for _, b := range bound {
		if k, err := onceguard.ParseKey(b.Key); err == nil {
			roots = append(roots, k)
		}
	}
	for n := at.n; n >= 0 && n > at.n-8; n-- {
		roots = append(roots, ch.key(n))
	}
	for _, root := range roots {
		parent, n, err := g.asked(ctx, c, root, digest, slot)
		if err != nil {
			return plan{}, err
		}
		if parent.ID.IsZero() {
			continue
		}
		if r, drifted := g.drifted(ctx, c, root, parent); drifted {
			return stop(r), nil
		}
		key := parent.ID.Slot("round-" + slot)
		if !knows(n.next, key) {
			e := onceguard.Evidence{ID: parent.ID, Kind: kindNext, By: byGate, Body: []byte(key.Encoded())}
			if err := g.note(ctx, e); err != nil {
				return plan{}, err
			}
		}
		return g.answered(ctx, c, key)
	}
	// A question that was asked before this store knew the call: the round is
	// an intention of its own.
	return g.answered(ctx, c, onceguard.KeyOf("round", slot, "content", g.secret.hex("content", string(c.says))))
}

// answered plans the round with a key: the first answer to a question counts.
func (g *Gate) answered(ctx context.Context, c *call, key onceguard.Key) (plan, error) {
	p, err := g.known(ctx, c, key)
	if err != nil || p.stop == nil {
		return p, err
	}
	if _, err := c.guard.Preview(ctx, g.request(c, key)); isMismatch(err) {
		return stop(g.conflict(c)), nil
	}
	return p, nil
}

func knows(list []onceguard.Key, k onceguard.Key) bool {
	for _, have := range list {
		if have.Encoded() == k.Encoded() {
			return true
		}
	}
	return false
}

// stateOf is the digest by which a question is found again.
func (g *Gate) stateOf(has bool, state string) string {
	if !has {
		return "none"
	}
	return g.secret.hex("state", state)
}

// asked finds the round that asked the question, among those of one root: the
// one that this very answer was given to before, or else the last that matches.
func (g *Gate) asked(ctx context.Context, c *call, root onceguard.Key, digest, slot string) (rec onceguard.Record, n notes, err error) {
	key := root
	for range maxRounds {
		id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, key)
		if err != nil {
			return rec, n, err
		}
		answers, err := g.get(ctx, c.guard, id)
		if err != nil {
			return rec, n, err
		}
		at := answers[0].Record
		if answers[0].Outcome != onceguard.Found || at.State != onceguard.Succeeded {
			return rec, n, nil
		}
		here, err := g.notes(ctx, c.guard, at)
		if err != nil {
			return rec, n, err
		}
		if here.awaiting != nil && here.awaiting.State == digest {
			rec, n = at, here // the last one that matches, where states repeat
			if key := at.ID.Slot("round-" + slot); knows(here.next, key) {
				if _, err := c.guard.Preview(ctx, g.request(c, key)); !isMismatch(err) {
					return rec, n, nil
				}
			}
		}
		if here.awaiting == nil || len(here.next) == 0 {
			return rec, n, nil
		}
		key = here.next[len(here.next)-1]
	}
	return rec, n, nil
}
