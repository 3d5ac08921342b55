package mcpcall

import (
	"context"
	"fmt"

	"github.com/onceguard/onceguard"
)

// A tool may answer with a question (input_required, SEP-2322): the client then
// calls again with the same arguments and the answer. Each such round may have
// had effects, so each is a request of its own, run at most once: the first has
// the call's key, and every further one the key of its parent's slot for the
// digest of requestState. The receipts are linked both ways before they are
// needed: the question's digest is a checkpoint of the attempt that got it, and
// the next round's key is evidence on its parent before that round is claimed.
// So a continuation finds its parent after a restart, and a repeat of the first
// call finds where the conversation stands.

// maxRounds bounds the questions of one call.
const maxRounds = 64

// followed is where an intention stands.
type followed struct {
	rec   onceguard.Record // the last round's receipt
	notes notes            // of rec
	root  notes            // of the first round's
	moved bool             // rec is not the first round's
	open  *Reply           // the answer, where it is not simply rec's
}

// follow goes from the first round to the last, and finds tasks that run.
func (g *Gate) follow(ctx context.Context, c *call, first onceguard.Answer) (f followed, err error) {
	f.rec = first.Record
	if first.Outcome != onceguard.Found {
		return f, nil
	}
	for range maxRounds {
		switch {
		case f.rec.State == onceguard.Uncertain, f.rec.State == onceguard.Claimed && (f.rec.UnknownAttempt || f.rec.Policy.Kind != onceguard.AtMostOnceKind):
			return f, g.openTask(ctx, c, &f)
		case f.rec.State != onceguard.Succeeded:
			return f, nil
		}
		if f.notes, err = g.notes(ctx, c.guard, f.rec); err != nil {
			return f, err
		}
		if !f.moved {
			f.root = f.notes
		}
		if f.notes.awaiting == nil {
			return f, nil
		}
		question := func() {
			r := g.fromRecord(ctx, c, f.rec, false)
			if r.Verdict == NoResult {
				r = g.say(c, g.word(Awaiting, c, f.rec, true, StepPerson), fmt.Sprintf("Nothing was run: the server asked something about this call of %s (%s) and waits for the answer, and the question is not kept. Ask the user.", c.tool, f.rec.ID), nil)
			}
			r.Verdict = Awaiting
			f.open = &r
		}
		if len(f.notes.next) == 0 {
			question()
			return f, nil
		}
		id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, f.notes.next[len(f.notes.next)-1])
		if err != nil {
			return f, err
		}
		answers, err := g.get(ctx, c.guard, id)
		if err != nil {
			return f, err
		}
		child := answers[0]
		switch {
		case child.Outcome != onceguard.Found, child.Record.State == onceguard.Released:
			question() // that round surely did not happen: the question stands
			return f, nil
		case child.Record.State == onceguard.Claimed:
			r := g.inFlight(c, child.Record, child.Record.LeaseLeft(child.Now))
			f.open = &r
			return f, nil
		}
		f.rec, f.moved = child.Record, true
	}
	return f, nil
}

// openTask finds the handle of a task that runs for the receipt.
func (g *Gate) openTask(ctx context.Context, c *call, f *followed) (err error) {
	if f.notes, err = g.notes(ctx, c.guard, f.rec); err != nil {
		return err
	}
	switch {
	case f.notes.task != nil:
		r := Reply{Result: f.notes.task.Handle, Verdict: InProgress, Handle: Handle{f.rec.ID, c.turn}}
		f.open = &r
	case f.moved:
		r := g.uncertain(c, f.rec, nil)
		f.open = &r
	}
	return nil
}

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
