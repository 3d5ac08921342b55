package simtest

import (
	"time"

	"github.com/onceguard/onceguard"
)

// grantKey names one attempt that a store granted.
type grantKey struct {
	request int
	token   onceguard.Token
}

// grant is what the books know of it.
type grant struct {
	attempt  int64
	call     *call // nil: nobody is known to have asked
	entered  int
	released bool
}

// sent books that a claim leaves its process; needs the mutex.
func (w *world) sent(o *op) {
	if o.kind == "claim" && o.caller != nil {
		o.sent = time.Now()
	}
}

// answered books what a process heard; needs the mutex.
func (w *world) answered(o *op) {
	if o.kind == "claim" && o.caller != nil && o.answer.Outcome == onceguard.Granted {
		o.caller.token, o.caller.sent = o.token, o.sent
	}
}

// entered books that an effect starts, and checks that it may. Needs the mutex.
func (w *world) entered(c *call, attempt int64, key string) {
	w.logf(c.String(), "EFFECT STARTS, attempt %d", attempt)
	r := c.r
	c.entered++
	r.running++
	g := w.claims[grantKey{r.n, c.token}]
	switch {
	case g == nil || g.attempt != attempt:
		w.violate("C9", "%s starts the effect of %s, attempt %d, which no store granted to it", c, r, attempt)
	case g.entered > 0:
		w.violate("C9", "%s starts the effect of %s twice under one claim", c, r)
	case g.released:
		w.violate("C9", "%s starts the effect of %s under a claim that it gave back", c, r)
	case time.Since(c.sent) > lease:
		w.violate("C5", "%s starts the effect of %s %s after it sent its claim, and the lease is %s", c, r, time.Since(c.sent), lease)
	}
	if g != nil {
		g.entered++
	}
	if r.running > 1 && (r.mode == plain || r.mode == voided) && r.waived == 0 {
		w.violate("C5", "%s: two effects run at once under at-most-once", r)
	}
	if r.burned[key] {
		w.violate("C3", "%s starts %s with a downstream key that a lookup made impossible", c, r)
	}
}

// decided checks one step of the store, and books it. Needs the mutex.
func (w *world) decided(o *op, before onceguard.Record) {
	r, a := o.request, o.answer
	after := w.recordLocked(r)
	if a.Transition != onceguard.NoTransition {
		w.counts[a.Transition.String()]++
	}
	if before.State.Final() && (after.State != before.State || after.Result.Digest != before.Result.Digest) {
		w.violate("C2", "%s: %s by %s changed a final record from %s to %s", r, o.kind, o.actor, before.State, after.State)
	}
	if after.Attempt < before.Attempt || before.State != onceguard.Absent && after.State == onceguard.Absent {
		w.violate("C9", "%s: %s by %s took attempt %d back to %d", r, o.kind, o.actor, before.Attempt, after.Attempt)
	}
	lapsed := !o.at.Before(r.leaseEnd)
	switch a.Transition {
	case onceguard.T1, onceguard.T2, onceguard.T3, onceguard.T4:
		if a.Outcome == onceguard.Granted {
			k := grantKey{r.n, o.token}
			if g := w.claims[k]; g == nil || a.Transition != onceguard.T2 {
				w.claims[k] = &grant{attempt: a.Record.Attempt, call: o.caller}
			}
			if a.Transition == onceguard.T4 && !lapsed {
				w.violate("C5", "%s: attempt %d was taken over %s before its lease was over", r, before.Attempt, r.leaseEnd.Sub(o.at))
			}
			r.leaseEnd = o.at.Add(o.in.lease)
		}
	case onceguard.T5:
		if !lapsed {
			w.violate("C5", "%s: attempt %d was parked %s before its lease was over", r, before.Attempt, r.leaseEnd.Sub(o.at))
		}
	case onceguard.T6:
		if end := o.at.Add(o.in.lease); end.After(r.leaseEnd) {
			r.leaseEnd = end
		}
	case onceguard.T7, onceguard.T8:
		if before.State == onceguard.Uncertain || lapsed {
			w.counts["late settle"]++
		}
	case onceguard.T9b:
		r.leaseEnd = o.at
	case onceguard.T10:
		if g := w.claims[grantKey{r.n, o.token}]; g != nil {
			g.released = true
		}
	case onceguard.T13:
		if o.in.verdict == onceguard.ResolveRunAgain {
			r.waived++
		}
	case onceguard.T12:
		if o.in.verdict == onceguard.ResolveNeverWill && after.State == onceguard.Released {
			w.counts["released by a lookup"]++
			for key := range r.voided {
				r.burned[key] = true
			}
		}
	}
	w.expect(o, before)
}

// expect notes which evidence the step must have left (C8). Needs the mutex.
func (w *world) expect(o *op, before onceguard.Record) {
	r := o.request
	if o.kind != "settle" || before.State == onceguard.Absent {
		return
	}
	g := w.claims[grantKey{r.n, o.token}]
	mine := g != nil && g.attempt == o.in.attempt && before.Attempt == o.in.attempt
	definite := o.in.verb == onceguard.SettleSucceeded || o.in.verb == onceguard.SettleFailed
	switch {
	case before.State == onceguard.Failed && o.in.verb == onceguard.SettleSucceeded,
		before.State == onceguard.Succeeded && o.in.verb == onceguard.SettleFailed:
		r.evidence = append(r.evidence, expected{onceguard.EvidenceConflict, o.in.attempt})
	case !before.State.Final() && definite && !mine:
		r.evidence = append(r.evidence, expected{onceguard.EvidenceLate, o.in.attempt})
	case !before.State.Final() && o.in.verb == onceguard.SettleSucceeded && before.State != onceguard.Released:
		if o.answer.Outcome != onceguard.Settled || o.answer.Record.State != onceguard.Succeeded {
			w.violate("C3", "%s: its owner says that it succeeded, however late, and the store answers %s and keeps it %s", r, o.answer.Outcome, o.answer.Record.State)
		}
	}
}

type expected struct {
	kind    onceguard.EvidenceKind
	attempt int64
}
