package onceguard

import (
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Prune decides T15: first the result goes, much later the identity. Claimed
// and uncertain records stay for ever, and so does a released one with an
// unknown attempt: dropping it would forget that something may have happened.
func (r Record) Prune(now time.Time) Step {
	age := now.Sub(r.Since)
	over := func(keep time.Duration) bool { return keep != Forever && age > keep }
	switch {
	case r.State == Claimed && over(r.ResultRetention) && mutant.On("prune-claimed"):
		return Step{Outcome: Applied, Transition: T15, Record: Record{ID: r.ID}, Delete: true}
	case r.State == Released && !r.UnknownAttempt && over(r.IdentityRetention),
		r.State.Final() && over(r.IdentityRetention):
		s := r.step(Applied, T15, Record{ID: r.ID})
		s.Write, s.Delete = false, true
		return s
	case r.State.Final() && !r.Pruned && over(r.ResultRetention):
		after := r
		after.Pruned, after.Input, after.Result.Body = true, nil, nil
		if after.Result.Missing == HasBody {
			after.Result.Missing = BodyPruned
		}
		return r.step(Applied, T15, after)
	}
	return r.still(Stale)
}

// Import decides the insert of a final record of work done before adoption.
// An existing row is never changed.
func (r Record) Import(given Record) Step {
	if r.State == Absent {
		given.Reason, given.SettledBy = keptText(given.Reason), keptText(given.SettledBy)
		if given.Result.Body == nil && !given.Result.Intact() {
			given.Result.Missing = BodyNotKept // the zero Result: no value is known
		}
		return Step{Outcome: Applied, Record: given, Write: true}
	}
	if r.State == given.State && r.Result.Digest == given.Result.Digest {
		return r.still(Settled)
	}
	return r.still(Stale)
}
