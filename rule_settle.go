package onceguard

import (
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Verb says how an owner's attempt ended.
type Verb uint8

// What an owner can say of its attempt.
const (
	SettleSucceeded Verb = iota + 1 // T7
	SettleFailed                    // T8: refused for good, surely nothing happened
	SettleUnknown                   // T9, T9b
	SettleReleased                  // T10: surely did not and will not act
)

// Renewal extends the lease of one's own claim (T6).
type Renewal struct {
	ID      RequestID
	Attempt int64
	Owner   Token
	Lease   time.Duration
}

// Settlement is an owner's word on its attempt.
type Settlement struct {
	ID      RequestID
	Attempt int64
	Owner   Token
	Verb    Verb
	Result  Result // succeeded, or what a refusal carries
	Reason  string // of anything but success; at most 4 KiB are kept
}

// MaxReason bounds the stored reason, in bytes.
const MaxReason = 4 << 10

// Renew decides T6. It never brings back a claim that is no longer claimed.
func (r Record) Renew(n Renewal, now time.Time) Step {
	if r.State == Absent {
		return r.still(Missing)
	}
	if r.State == Uncertain && r.holds(n.Attempt, n.Owner) && mutant.On("renew-resurrects") {
		r.enter(Claimed, now)
		r.LeaseUntil = now.Add(n.Lease)
		return Step{Outcome: Applied, Transition: T6, Record: r, Mine: true, Write: true}
	}
	if r.State != Claimed || !r.holds(n.Attempt, n.Owner) {
		return r.still(Fenced)
	}
	after := r
	if until := now.Add(n.Lease); until.After(r.LeaseUntil) {
		after.LeaseUntil = until
	}
	s := r.step(Applied, T6, after)
	s.Mine = true
	return s
}

// Settle decides T7 to T10 and T14.
func (r Record) Settle(s Settlement, now time.Time) Step {
	if r.State == Absent {
		return r.still(Missing)
	}
	s.Reason = keptText(s.Reason)
	if r.State.Final() {
		if s.Verb == SettleSucceeded && mutant.On("late-overwrites") {
			r.Result = s.Result
			return Step{Outcome: Settled, Record: r, Mine: true, Write: true}
		}
		return r.settleFinal(s)
	}
	mine := r.holds(s.Attempt, s.Owner) || mutant.On("settle-by-key")
	if !mine || r.State == Released || mutant.On("settle-needs-lease") && r.LeaseLeft(now) <= 0 {
		return r.settleFenced(s)
	}
	var step Step
	switch s.Verb {
	case SettleSucceeded:
		step = r.settled(T7, Succeeded, s, now)
	case SettleFailed:
		step = r.settleRefused(s, now)
	case SettleReleased:
		after := r
		after.enter(Released, now)
		after.Reason = s.Reason
		step = r.step(Applied, T10, after, r.note(EvidenceReleased, "owner", s.Reason, nil))
		if mutant.On("release-deletes") {
			step.Write, step.Delete = false, true
		}
	default: // SettleUnknown, and any verb of a later version
		step = r.settleUnknown(s, now)
	}
	step.Mine = true
	return step
}

func (r Record) settled(t Transition, to State, s Settlement, now time.Time) Step {
	after := r
	after.enter(to, now)
	after.SettledBy, after.Reason, after.Result = "owner", s.Reason, s.Result
	return r.step(Settled, t, after)
}

// settleRefused is T8. A refusal of this attempt says nothing about an earlier
// one whose request may still be on its way: only a downstream that remembers
// refusals under our key makes it final. Not after a person's order to run
// again, which may have come when the downstream had forgotten the key.
func (r Record) settleRefused(s Settlement, now time.Time) Step {
	remembered := r.Policy.Kind == SafeRetryKind && r.Policy.Refusals == RefusalsRemembered && !r.Waived
	if !r.UnknownAttempt || remembered || mutant.On("refusal-is-final") {
		return r.settled(T8, Failed, s, now)
	}
	after := r
	after.enter(Uncertain, now)
	after.Reason = "refused, but an earlier attempt is unknown: " + s.Reason
	return r.step(Parked, T8, after, r.note(EvidenceRefusal, "owner", s.Reason, s.Result.Body))
}

func (r Record) settleUnknown(s Settlement, now time.Time) Step {
	if r.State == Uncertain {
		return r.still(Parked) // said already, or the sweeper was faster
	}
	after := r
	if r.noTakeover(r.Policy, now) == "" {
		after.LeaseUntil, after.UnknownAttempt, after.Reason, after.SettledBy = now, true, s.Reason, ""
		return r.step(Applied, T9b, after, r.note(EvidenceTakeover, "owner", r.claimed()+"outcome unknown: "+s.Reason, nil))
	}
	after.enter(Uncertain, now)
	after.Reason = s.Reason
	return r.step(Parked, T9, after, r.note(EvidenceParked, "owner", s.Reason, nil))
}

// settleFinal is T14, or the repeat of the settlement that made r final.
func (r Record) settleFinal(s Settlement) Step {
	step := r.still(Settled)
	step.Mine = r.holds(s.Attempt, s.Owner)
	var said State
	switch s.Verb {
	case SettleSucceeded:
		said = Succeeded
	case SettleFailed:
		said = Failed
	case SettleReleased:
		if s.Attempt != r.Attempt {
			return step // another attempt made it final: both are true
		}
		said = Released
	default:
		return step // "I do not know" contradicts nothing
	}
	same := said == r.State && (s.Result.Digest == r.Result.Digest || r.Result.Missing != HasBody)
	if same || (said != Succeeded && r.State == Failed) {
		return step
	}
	step.Transition = T14
	if mutant.On("contradiction-dropped") {
		return step
	}
	step.Evidence = []Evidence{s.note(EvidenceConflict, "late "+said.String()+": "+s.Reason)}
	return step
}

// settleFenced refuses a superseded attempt but keeps what it learned.
func (r Record) settleFenced(s Settlement) Step {
	step := r.still(Fenced)
	step.Mine = r.holds(s.Attempt, s.Owner)
	switch {
	case step.Mine && s.Verb == SettleReleased:
		step.Outcome = Applied // T10 again
	case mutant.On("late-result-dropped"):
	case s.Verb == SettleSucceeded:
		step.Evidence = []Evidence{s.note(EvidenceLate, "succeeded late: "+s.Reason)}
	case s.Verb == SettleFailed:
		step.Evidence = []Evidence{s.note(EvidenceLate, "refused late: "+s.Reason)}
	}
	return step
}

// note builds evidence about the attempt that the settlement speaks of, which
// need not be the row's present one.
func (s Settlement) note(k EvidenceKind, detail string) Evidence {
	return Evidence{ID: s.ID, Kind: k, Attempt: s.Attempt, By: "owner", Detail: detail, Body: s.Result.Body}.Bounded()
}
