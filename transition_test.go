package onceguard

import "testing"

// transitionPairs is the table of the design, written out: every pair of
// states that each transition may connect, and who may cause it.
var transitionPairs = map[Transition]struct {
	pairs []string
	who   []Who
}{
	T1:  {[]string{"absent claimed"}, []Who{ByCaller}},
	T2:  {[]string{"claimed claimed"}, []Who{ByCaller}},
	T3:  {[]string{"released claimed", "released uncertain"}, []Who{ByCaller}},
	T4:  {[]string{"claimed claimed"}, []Who{ByCaller}},
	T5:  {[]string{"claimed uncertain"}, []Who{ByCaller, BySweeper}},
	T6:  {[]string{"claimed claimed"}, []Who{ByOwner}},
	T7:  {[]string{"claimed succeeded", "uncertain succeeded"}, []Who{ByOwner}},
	T8:  {[]string{"claimed failed", "uncertain failed", "claimed uncertain", "uncertain uncertain"}, []Who{ByOwner}},
	T9:  {[]string{"claimed uncertain"}, []Who{ByOwner}},
	T9b: {[]string{"claimed claimed"}, []Who{ByOwner}},
	T10: {[]string{"claimed released", "uncertain released"}, []Who{ByOwner}},
	T11: {[]string{"absent succeeded", "released succeeded"}, []Who{ByCaller}},
	T12: {[]string{"uncertain succeeded", "uncertain failed", "uncertain released"}, []Who{ByReconciler}},
	T13: {[]string{"uncertain succeeded", "uncertain failed", "uncertain released"}, []Who{ByOperator}},
	T14: {[]string{"succeeded succeeded", "failed failed"}, []Who{ByCaller, ByOwner, ByReconciler, ByOperator}},
	T15: {[]string{"succeeded succeeded", "failed failed", "succeeded absent", "failed absent", "released absent"}, []Who{ByPrune}},
}

func TestTransitionTable(t *testing.T) {
	for x := T1; x <= T15; x++ {
		want := map[string]bool{}
		for _, p := range transitionPairs[x].pairs {
			want[p] = true
		}
		for from := Absent; from <= Failed; from++ {
			for to := Absent; to <= Failed; to++ {
				pair := from.String() + " " + to.String()
				if got := allows(x, from, to); got != want[pair] {
					t.Errorf("%s from %s to %s: allowed %v, want %v", x, from, to, got, want[pair])
				}
			}
		}
	}
	if allows(NoTransition, Claimed, Claimed) || allows(T15+1, Claimed, Claimed) {
		t.Error("a transition that is none is allowed")
	}
}

func TestTransitionsAreListedInOrderByName(t *testing.T) {
	rules := Transitions()
	if len(rules) != int(T15) {
		t.Fatalf("%d transitions, want %d", len(rules), T15)
	}
	for i, r := range rules {
		if r.Transition != Transition(i+1) || r.Condition == "" {
			t.Errorf("line %d is %s: %q", i, r.Transition, r.Condition)
		}
		want := transitionPairs[r.Transition].who
		if len(want) != len(r.Who) {
			t.Errorf("%s is caused by %v, want %v", r.Transition, r.Who, want)
			continue
		}
		for k := range want {
			if want[k] != r.Who[k] {
				t.Errorf("%s is caused by %v, want %v", r.Transition, r.Who, want)
			}
		}
	}
	if T9.String() != "T9" || T9b.String() != "T9b" || T10.String() != "T10" || T15.String() != "T15" || Transition(99).String() == "" {
		t.Errorf("names: %s %s %s %s %s", T9, T9b, T10, T15, Transition(99))
	}
	rules[0].Transition = T15
	if Transitions()[0].Transition != T1 {
		t.Error("a caller can change the table")
	}
}

// A rule that took a transition outside the table stops instead of storing it.
func TestStepOutsideTheTablePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a final record was taken back to claimed")
		}
	}()
	Record{State: Succeeded}.step(Granted, T4, Record{State: Claimed})
}
