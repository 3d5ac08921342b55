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
