package onceguard

import (
	"fmt"
	"time"
)

// Step is what a rule decided about a record: a store writes Record when Write
// is set (deletes it when Delete is), appends Evidence, and answers.
type Step struct {
	Outcome    Outcome
	Transition Transition
	Record     Record
	Mine       bool
	Write      bool
	Delete     bool
	Evidence   []Evidence
}

// Answer is the store's reply for the step, at the store's time now.
func (s Step) Answer(now time.Time) Answer {
	a := Answer{Outcome: s.Outcome, Transition: s.Transition, Record: s.Record, Mine: s.Mine, Now: now}
	if s.Outcome == Mismatched {
		a.Record = Record{} // a mismatch reveals nothing else
	}
	return a
}

// step closes a rule. A change that the table does not list is a bug in the
// rules, and stopping is better than storing it.
func (r Record) step(o Outcome, t Transition, after Record, ev ...Evidence) Step {
	if t != NoTransition && !allows(t, r.State, after.State) {
		panic(fmt.Sprintf("onceguard: rule %s took %s to %s, which the transition table forbids", t, r.State, after.State))
	}
	return Step{Outcome: o, Transition: t, Record: after, Write: t != NoTransition && t != T14, Evidence: ev}
}

// still answers without a change.
func (r Record) still(o Outcome) Step { return Step{Outcome: o, Record: r} }
