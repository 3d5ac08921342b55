package onceguard

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// The tests of the rules go through every small record and every question
// about it. What they expect is written out in tables (claimLines, settleLines,
// resolveLines) as section 3 of the design says it, first match wins.

var ruleNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const ruleHorizon = 24 * time.Hour

var (
	ruleOwner    = Token{1}
	ruleStranger = Token{2}
	ruleInput    = Fingerprint{Version: 1, KeyID: "k1", Sum: [32]byte{1}}
	ruleOther    = Fingerprint{Version: 1, KeyID: "k1", Sum: [32]byte{2}}
)

var rulePolicies = map[string]Policy{
	"at-most-once":  AtMostOnce,
	"transactional": Transactional,
	"rerun":         Rerun,
	"remembers":     SafeRetry(ruleHorizon, RefusalsRemembered),
	"forgets":       SafeRetry(ruleHorizon, RefusalsForgotten),
}

// shape is what the rules look at in a record.
type shape struct {
	state       State
	policy      string
	attempt     int64 // 1, or DefaultMaxAttempts
	unknown     bool
	waived      bool
	ordered     bool // waived, and no attempt became unknown since
	leaseOver   bool
	horizonOver bool
	optIn       bool // RunAfterNeverWill
}

func (s shape) String() string {
	type plain shape // without this method
	return fmt.Sprintf("%+v", plain(s))
}

// record builds a record of the shape at ruleNow.
func (s shape) record() Record {
	if s.state == Absent {
		return Record{}
	}
	r := Record{
		ID: RequestID{7}, Scope: "default", Action: "refund.create", Key: "order=1",
		Fingerprint: ruleInput, Policy: rulePolicies[s.policy], State: s.state, Attempt: s.attempt,
		Owner: ruleOwner.Hash(), Process: "host/1", UnknownAttempt: s.unknown, Waived: s.waived, RunAfterNeverWill: s.optIn,
		CreatedAt: ruleNow.Add(-72 * time.Hour), KeyedAt: ruleNow.Add(-time.Hour), ClaimedAt: ruleNow.Add(-time.Minute), Since: ruleNow.Add(-time.Minute),
		ResultRetention: 30 * 24 * time.Hour, IdentityRetention: 400 * 24 * time.Hour, Input: []byte("input"),
	}
	if s.horizonOver {
		r.KeyedAt = ruleNow.Add(-48 * time.Hour)
	}
	if s.ordered {
		r.SettledBy = "operator:ada"
	}
	switch s.state {
	case Claimed:
		r.LeaseUntil = ruleNow.Add(time.Minute)
		if s.leaseOver {
			r.LeaseUntil = ruleNow
		}
	case Succeeded, Failed:
		r.SettledBy, r.Result = "owner", NewResult("t", []byte("stored"))
	}
	return r
}

// shapes yields every record that the rules can meet.
func shapes() []shape {
	var all []shape
	bools := []bool{false, true}
	for state := Claimed; state <= Failed; state++ {
		for policy := range rulePolicies {
			for _, attempt := range []int64{1, DefaultMaxAttempts} {
				for mask := range 1 << 6 {
					bit := func(i int) bool { return bools[mask>>i&1] }
					s := shape{state, policy, attempt, bit(0), bit(1), bit(2), bit(3), bit(4), bit(5)}
					switch {
					case s.ordered && (!s.waived || !s.unknown), s.waived && !s.unknown && s.state == Released && !s.optIn:
					case s.leaseOver && s.state != Claimed:
					default:
						all = append(all, s)
					}
				}
			}
		}
	}
	return append(all, shape{state: Absent})
}

// repeatable: p allows another attempt after an unknown one.
func (s shape) repeatable(p Policy) bool {
	return (p.Kind == RerunKind || p.Kind == SafeRetryKind && !s.horizonOver) && s.attempt < DefaultMaxAttempts
}

// expectation is one line of a table of what a rule must decide.
type expectation struct {
	outcome    Outcome
	transition Transition
	to         State
}

// judged is the whole run of one table: which lines and transitions occurred.
type judged struct {
	lines       map[string]int
	transitions map[Transition]int
}

func newJudged() *judged { return &judged{map[string]int{}, map[Transition]int{}} }

// check compares one step with its line and with what holds for every step.
func (j *judged) check(t *testing.T, line string, want expectation, before Record, step Step, about string) {
	t.Helper()
	j.lines[line]++
	j.transitions[step.Transition]++
	if got := (expectation{step.Outcome, step.Transition, step.Record.State}); got != want {
		t.Fatalf("line %q wants %v, got %v\n%s", line, want, got, about)
	}
	for _, broken := range invariants(before, step) {
		t.Fatalf("line %q: %s\n%s", line, broken, about)
	}
}

// invariants lists what a step breaks of the rules that hold for all of them.
func invariants(before Record, step Step) []string {
	var broken []string
	say := func(bad bool, format string, args ...any) {
		if bad {
			broken = append(broken, fmt.Sprintf(format, args...))
		}
	}
	after, t := step.Record, step.Transition
	reveals := step.Outcome == KeyUnknown || step.Outcome == TooOld || step.Outcome == Frozen
	changed := !reflect.DeepEqual(before, after)
	granted := step.Outcome == Granted && t != T2
	say(t != NoTransition && !slices.ContainsFunc(Transitions(), func(r Rule) bool {
		return r.Transition == t && slices.Contains(r.From, before.State) && slices.Contains(r.To, after.State)
	}), "%s from %s to %s is not in the table", t, before.State, after.State)
	say(before.State.Final() && !step.Delete && changed && t != T15 && !reveals, "a final record changed")
	say(!step.Write && !step.Delete && changed && !reveals, "changed and not written")
	say(step.Write && t == NoTransition, "written without a transition")
	say(t != NoTransition && t != T14 && !step.Write && !step.Delete, "%s is not written", t)
	say(step.Outcome != Fenced && t >= T6 && t <= T10 && !step.Mine, "%s is the owner's, and it is not answered as mine", t)
	if reveals || step.Delete {
		return broken
	}
	say(granted && after.Attempt != before.Attempt+1, "granted attempt %d after %d", after.Attempt, before.Attempt)
	say(!granted && after.Attempt != before.Attempt, "attempt went from %d to %d without a grant", before.Attempt, after.Attempt)
	say(after.Generation != before.Generation && (t != T12 && t != T13 || after.State != Released || after.UnknownAttempt), "generation rose by %s", t)
	say(after.Generation != before.Generation && after.Generation != before.Generation+1, "generation went from %d to %d", before.Generation, after.Generation)
	say(before.Waived && !after.Waived, "the waiver's mark is gone")
	say(before.UnknownAttempt && !after.UnknownAttempt && t != T12 && t != T13, "%s forgot that an attempt is unknown", t)
	say(!granted && after.Owner != before.Owner, "the owner changed by %s", t)
	say(!granted && t != NoTransition && !after.KeyedAt.Equal(before.KeyedAt), "%s moved the key's horizon", t)
	say(after.State != Claimed && !after.LeaseUntil.IsZero(), "a lease in state %s", after.State)
	say(before.State != Absent && !after.CreatedAt.Equal(before.CreatedAt), "the first claim moved in time")
	say(t != NoTransition && t != T14 && before.State != after.State && !after.Since.Equal(ruleNow), "state changed and Since did not")
	say(t != T1 && t != T3 && after.Fingerprint != before.Fingerprint, "%s changed the fingerprint", t)
	for _, e := range step.Evidence {
		say(e.ID != after.ID, "evidence %s is about another request", e.Kind)
	}
	return broken
}

// every expects each line to have been met: a line nothing meets tests nothing.
func (j *judged) every(t *testing.T, lines []string, transitions ...Transition) {
	t.Helper()
	for _, l := range lines {
		if j.lines[l] == 0 {
			t.Errorf("no record meets the line %q", l)
		}
	}
	for _, x := range transitions {
		if j.transitions[x] == 0 {
			t.Errorf("no record takes %s", x)
		}
	}
}
