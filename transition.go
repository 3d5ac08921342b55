package onceguard

import "fmt"

// Transition numbers the only ways a record may change, T1 to T15 of the
// design. The table below is the one place that lists them; the rules in
// rule_*.go apply them, the schema of SQLite repeats their shape as constraints,
// and docs/states.md is compared with it by a test.
type Transition uint8

// The transitions.
const (
	NoTransition Transition = iota
	T1                      // first claim
	T2                      // the same claim call again
	T3                      // claim of a released request
	T4                      // takeover of a lapsed claim
	T5                      // lapsed claim parked
	T6                      // lease renewed
	T7                      // owner settles succeeded, however late
	T8                      // owner settles failed
	T9                      // owner does not know: parked
	T9b                     // owner does not know: left to the next claim
	T10                     // owner surely did not act
	T11                     // transactional: one commit
	T12                     // reconciler settles
	T13                     // operator settles
	T14                     // late and different: kept as evidence
	T15                     // pruned
)

var transitionNames = [...]string{"none", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T9b", "T10", "T11", "T12", "T13", "T14", "T15"}

// String returns the transition's name in the design, such as "T9b".
func (t Transition) String() string {
	if int(t) < len(transitionNames) {
		return transitionNames[t]
	}
	return fmt.Sprintf("T?(%d)", uint8(t))
}

// Who may cause a transition.
type Who string

// The parties of the protocol.
const (
	ByCaller     Who = "caller"
	ByOwner      Who = "owner"
	BySweeper    Who = "sweeper"
	ByReconciler Who = "reconciler"
	ByOperator   Who = "operator"
	ByPrune      Who = "prune"
)

// Rule is one line of the transition table.
type Rule struct {
	Transition Transition
	From, To   []State
	Who        []Who
	Condition  string
}

var ruleTable = []Rule{
	{T1, []State{Absent}, []State{Claimed}, []Who{ByCaller}, "unique insert, attempt 1; fingerprint and policy are recorded"},
	{T2, []State{Claimed}, []State{Claimed}, []Who{ByCaller}, "owner token is mine: same attempt, lease renewed; always writes"},
	{T3, []State{Released}, []State{Claimed, Uncertain}, []Who{ByCaller}, "attempt + 1, new owner; uncertain if an earlier attempt is unknown and the horizon is over"},
	{T4, []State{Claimed}, []State{Claimed}, []Who{ByCaller}, "lease over; safe-retry and rerun within horizon and attempt limit: attempt + 1, an earlier attempt is unknown"},
	{T5, []State{Claimed}, []State{Uncertain}, []Who{ByCaller, BySweeper}, "lease over, or the owner's process is dead on this host; T4 does not apply"},
	{T6, []State{Claimed}, []State{Claimed}, []Who{ByOwner}, "token matches; touches nothing but the lease"},
	{T7, []State{Claimed, Uncertain}, []State{Succeeded}, []Who{ByOwner}, "attempt and token match; the lease is not looked at"},
	{T8, []State{Claimed, Uncertain}, []State{Failed, Uncertain}, []Who{ByOwner}, "definite refusal, attempt and token match; uncertain if an earlier attempt is unknown, unless the downstream remembers refusals"},
	{T9, []State{Claimed}, []State{Uncertain}, []Who{ByOwner}, "the owner does not know; T9b does not apply"},
	{T9b, []State{Claimed}, []State{Claimed}, []Who{ByOwner}, "the owner does not know; safe-retry and rerun within horizon and attempt limit: lease ended, attempt marked unknown"},
	{T10, []State{Claimed, Uncertain}, []State{Released}, []Who{ByOwner}, "the owner surely did not and will not act under this token"},
	{T11, []State{Absent, Released}, []State{Succeeded}, []Who{ByCaller}, "claim, the caller's rows and the receipt in one transaction"},
	{T12, []State{Uncertain}, []State{Succeeded, Failed, Released}, []Who{ByReconciler}, "compare-and-set on (uncertain, attempt)"},
	{T13, []State{Uncertain}, []State{Succeeded, Failed, Released}, []Who{ByOperator}, "compare-and-set on (uncertain, attempt); name and reason recorded; released waives the guarantee"},
	{T14, []State{Succeeded, Failed}, []State{Succeeded, Failed}, []Who{ByCaller, ByOwner, ByReconciler, ByOperator}, "nothing changes; what differs is kept as evidence"},
	{T15, []State{Succeeded, Failed, Released}, []State{Succeeded, Failed, Absent}, []Who{ByPrune}, "past retention: result dropped, later the identity; released only without an unknown attempt"},
}

// Transitions returns a copy of the table, in order.
func Transitions() []Rule {
	out := make([]Rule, len(ruleTable))
	copy(out, ruleTable)
	return out
}

// allows reports whether the table has a line for t from one state to another.
func allows(t Transition, from, to State) bool {
	for _, r := range ruleTable {
		if r.Transition == t {
			return contains(r.From, from) && contains(r.To, to) && (t != T14 || from == to) &&
				(t != T15 || to == from || to == Absent)
		}
	}
	return false
}

func contains(list []State, s State) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
