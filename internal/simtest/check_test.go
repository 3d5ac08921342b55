package simtest

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/onceguard/onceguard"
)

func expired() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx, cancel
}

// check looks at the books after everything has come to rest.
func (w *world) check() {
	for _, r := range w.requests {
		rec := w.record(r)
		evidence, err := w.db.Evidence(context.Background(), r.id)
		w.mu.Lock()
		if err != nil {
			w.violate("harness", "evidence: %v", err)
		}
		w.checkEffects(r, rec)
		w.checkState(r, rec)
		w.checkEvidence(r, evidence)
		if w.mild {
			w.checkMild(r, rec)
		}
		if !r.forgotten {
			w.checkLinear(r)
		}
		w.logf("~end", "%s is %s at attempt %d, settled by %q, %d effects: %s", r, rec.State, rec.Attempt, rec.SettledBy, len(r.effects), rec.Reason)
		w.mu.Unlock()
	}
}

// checkEffects is C1 and C3: how often it happened, and whether the receipt
// says so.
func (w *world) checkEffects(r *request, rec onceguard.Record) {
	n := len(r.effects)
	byPerson := len(rec.SettledBy) > 9 && rec.SettledBy[:9] == "operator:"
	switch {
	case r.mode == transacted:
		rows := 0
		for _, c := range w.calls {
			if _, ok := w.db.Row(c.rowName()); ok && c.r == r {
				rows++
			}
		}
		if rows > 1 || (rows == 1) != (rec.State == onceguard.Succeeded) {
			w.violate("C1", "%s: %d rows were committed and the record is %s", r, rows, rec.State)
		}
		return
	case r.mode != again && n > 1+r.waived:
		w.violate("C1", "%s: %d effects, and %d orders to run again", r, n, r.waived)
	}
	switch {
	case rec.State == onceguard.Succeeded && !rec.Pruned:
		var said paid
		if json.Unmarshal(rec.Result.Body, &said) != nil || said.Effect < 1 || said.Effect > n || r.effects[said.Effect-1].cents != said.Cents {
			w.violate("C3", "%s succeeded with %s, and the downstream has %d effects", r, rec.Result.Body, n)
		}
	case rec.State == onceguard.Succeeded && n == 0:
		w.violate("C3", "%s succeeded, and the downstream knows nothing of it", r)
	case rec.State == onceguard.Failed && !byPerson && n > 0:
		w.violate("C3", "%s is refused on record (by %s), and %d effects took place", r, rec.SettledBy, n)
	case rec.State == onceguard.Released && !rec.UnknownAttempt && n > 0:
		w.violate("C3", "%s is released as surely not done, and %d effects took place", r, n)
	}
}

// checkState is C6: nothing is left over that somebody could have settled.
func (w *world) checkState(r *request, rec onceguard.Record) {
	switch {
	case rec.State == onceguard.Claimed:
		w.violate("C6", "%s is still claimed, two leases after everything was healed", r)
	case rec.State == onceguard.Uncertain && (r.mode == voided || r.mode == voidedAgain || r.mode == quietly):
		w.violate("C6", "%s is uncertain, and its lookup could have settled it", r)
	case rec.State == onceguard.Uncertain && r.mode == transacted:
		w.violate("C6", "%s is uncertain although it was transactional", r)
	}
}

// checkMild is C7 and the sharp form of C9: lost store answers alone make
// nothing uncertain, and every grant is used or given back.
func (w *world) checkMild(r *request, rec onceguard.Record) {
	if rec.State == onceguard.Uncertain {
		w.violate("C7", "%s is uncertain (%s), and nothing was lost but answers of the store", r, rec.Reason)
	}
	for _, c := range w.calls {
		var e *onceguard.Error
		if c.r == r && asError(c.err, &e) && (e.Code == onceguard.ErrUncertain || e.Code == onceguard.ErrUnsettled) && r.mode != transacted {
			w.violate("C7", "%s was told %s, and nothing was lost but answers of the store", c, e.Code)
		}
	}
	for k, g := range w.claims {
		if k.request == r.n && g.entered == 0 && !g.released && r.mode != transacted {
			w.violate("C9", "%s: attempt %d was granted, neither run nor given back", r, g.attempt)
		}
	}
}

// checkEvidence is C8: what contradicts a receipt was kept.
func (w *world) checkEvidence(r *request, have []onceguard.Evidence) {
	for _, want := range r.evidence {
		if !r.forgotten && !slices.ContainsFunc(have, func(e onceguard.Evidence) bool { return e.Kind == want.kind && e.Attempt == want.attempt }) {
			w.violate("C8", "%s: no evidence of a %s by attempt %d", r, want.kind, want.attempt)
		}
	}
}
