package onceguard

import (
	"fmt"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// Resolution is a decision about a request by somebody who does not own it: a
// reconciler (T12), a person (T13), or an observer who saw the owner's process
// dead (T5). It is a compare-and-set on State and Attempt, which the decider
// must have read in one Get before asking anybody.
type Resolution struct {
	ID      RequestID
	Attempt int64
	Verdict ResolveVerdict
	Who     Who    // ByReconciler, ByOperator, BySweeper (ResolvePark only)
	By      string // a person's name; required for ByOperator
	Reason  string // required for ByOperator
	Result  Result
}

// ResolveVerdict is what was decided.
type ResolveVerdict uint8

// The verdicts.
const (
	ResolveHappened  ResolveVerdict = iota + 1 // → succeeded
	ResolveRefused                             // → failed
	ResolveNeverWill                           // → failed (never-happened), or released with generation + 1 where the action opted in
	ResolveRunAgain                            // operator only: → released, guarantee waived
	ResolvePark                                // claimed → uncertain: the owner's process is dead
	ResolveNote                                // a lookup that settles nothing (not seen, unknown): evidence only
)

var verdictNames = [...]string{"", "happened", "refused", "never-will", "run-again", "park", "note"}

// String names the verdict.
func (v ResolveVerdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown-verdict"
}

// Validate reports what is missing.
func (n Resolution) Validate() error {
	switch {
	case n.Verdict < ResolveHappened || n.Verdict > ResolveNote:
		return fmt.Errorf("resolution: unknown verdict %d", n.Verdict)
	case n.Who == ByOperator && (n.By == "" || n.Reason == ""):
		return fmt.Errorf("resolution: a person's decision needs a name and a reason; both are shown on every replay")
	case n.Verdict == ResolveRunAgain && n.Who != ByOperator:
		return fmt.Errorf("resolution: only a person may order another run of an uncertain request")
	case n.Who != ByOperator && n.Who != ByReconciler && n.Who != BySweeper:
		return fmt.Errorf("resolution: %q may not resolve", n.Who)
	case n.Who == BySweeper && n.Verdict != ResolvePark:
		return fmt.Errorf("resolution: an observer can only park")
	}
	return nil
}

const operatorPrefix = "operator:"

func (n Resolution) settledBy() string {
	if n.Who == ByOperator {
		return operatorPrefix + n.By
	}
	return string(n.Who)
}

// Resolve decides T12, T13 and the early T5. Anything but the state and attempt
// that the decider read is Stale; the same decision again is answered as done.
func (r Record) Resolve(n Resolution, now time.Time) Step {
	if r.State == Absent {
		return r.still(Missing)
	}
	if n.Validate() != nil {
		return r.still(Stale) // stores say why before they come here
	}
	n.Reason, n.By = keptText(n.Reason), keptText(n.By)
	if r.repeats(n) {
		return r.still(Applied)
	}
	if n.Verdict == ResolvePark {
		if r.State != Claimed || r.Attempt != n.Attempt || r.Policy.repeats() {
			return r.still(Stale)
		}
		return r.park(now, n.settledBy(), n.Reason)
	}
	if r.State.Final() {
		return r.resolveFinal(n)
	}
	if r.State != Uncertain || r.Attempt != n.Attempt && !mutant.On("verdict-of-any-attempt") {
		return r.still(Stale)
	}
	ev := r.note(EvidenceResolution, n.settledBy(), n.Verdict.String()+": "+n.Reason, nil)
	t := T12
	if n.Who == ByOperator {
		t = T13
	}
	after := r
	after.SettledBy, after.Reason = n.settledBy(), n.Reason
	switch n.Verdict {
	case ResolveHappened:
		after.enter(Succeeded, now)
		after.Result = n.Result
	case ResolveRefused:
		after.enter(Failed, now)
		after.Result = n.Result
	case ResolveNeverWill:
		after.UnknownAttempt = false // the verdict covers every attempt so far
		if r.RunAfterNeverWill {
			after.enter(Released, now)
			if !mutant.On("key-kept-after-never-will") {
				after.Generation++ // the old key may be burned downstream
			}
		} else {
			after.enter(Failed, now)
			after.Reason = "never-happened: " + n.Reason
			after.Result = Result{Missing: BodyNotKept} // an empty body would not have its digest
		}
	case ResolveRunAgain:
		after.enter(Released, now)
		after.UnknownAttempt, after.Waived = true, true
		ev.Kind, ev.Detail = EvidenceWaiver, r.claimed()+ev.Detail
	default: // ResolveNote
		ev.Kind = EvidenceLookup
		return Step{Outcome: Parked, Record: r, Evidence: []Evidence{ev}}
	}
	return r.step(Applied, t, after, ev)
}

// repeats reports whether n is the decision that already released or parked r:
// its answer was lost, or another observer was as quick.
func (r Record) repeats(n Resolution) bool {
	if r.Attempt != n.Attempt || r.Reason != n.Reason {
		return false
	}
	switch n.Verdict {
	case ResolvePark:
		return r.State == Uncertain
	case ResolveNeverWill:
		return r.State == Released && r.SettledBy == n.settledBy() && !r.UnknownAttempt
	case ResolveRunAgain:
		return r.State == Released && r.SettledBy == n.settledBy() && r.UnknownAttempt
	}
	return false
}

// resolveFinal answers a repeat of the decision that settled r, and keeps a
// differing one as evidence (T14).
func (r Record) resolveFinal(n Resolution) Step {
	said := Failed
	switch n.Verdict {
	case ResolveHappened:
		said = Succeeded
	case ResolveNote, ResolveRunAgain:
		return r.still(Stale)
	}
	s := r.still(Stale)
	if said == r.State {
		if r.SettledBy == n.settledBy() {
			s = r.still(Applied)
		}
		if said == Failed || n.Result.Digest == ([32]byte{}) || n.Result.Digest == r.Result.Digest || r.Result.Missing != HasBody {
			return s
		}
	}
	s.Transition = T14
	s.Evidence = []Evidence{r.note(EvidenceConflict, n.settledBy(), "late verdict "+n.Verdict.String()+": "+n.Reason, n.Result.Body)}
	return s
}
