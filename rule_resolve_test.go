package onceguard

import (
	"fmt"
	"testing"
	"time"
)

// resolveAsk is one decision about a record.
type resolveAsk struct {
	verdict      ResolveVerdict
	who          Who
	otherAttempt bool
	otherBody    bool
}

func (q resolveAsk) resolution(attempt int64) Resolution {
	n := Resolution{ID: RequestID{7}, Attempt: attempt, Verdict: q.verdict, Who: q.who, Reason: "looked up", Result: NewResult("t", []byte("stored"))}
	if q.who == ByOperator {
		n.By = "bob"
	}
	if q.otherAttempt {
		n.Attempt--
	}
	if q.otherBody {
		n.Result = NewResult("t", []byte("other"))
	}
	return n
}

// takes is the transition of a decision that settles.
func (q resolveAsk) takes() Transition {
	if q.who == ByOperator {
		return T13
	}
	return T12
}

var resolveLines = []struct {
	name string
	when func(shape, resolveAsk) bool
	want expectation // to Absent: the record's own state; T12 stands for T12 and T13
}{
	{"nothing there", func(s shape, _ resolveAsk) bool { return s.state == Absent }, expectation{Missing, NoTransition, Absent}},
	{"a machine orders a run", func(_ shape, q resolveAsk) bool { return q.verdict == ResolveRunAgain && q.who != ByOperator }, expectation{Stale, NoTransition, Absent}},
	{"an observer decides", func(_ shape, q resolveAsk) bool { return q.verdict != ResolvePark && q.who == BySweeper }, expectation{Stale, NoTransition, Absent}},
	{"final, says nothing of the truth", func(s shape, q resolveAsk) bool {
		return s.state.Final() && (q.verdict == ResolvePark || q.verdict == ResolveNote || q.verdict == ResolveRunAgain)
	}, expectation{Stale, NoTransition, Absent}},
	{"succeeded, agreed", func(s shape, q resolveAsk) bool {
		return s.state == Succeeded && q.verdict == ResolveHappened && !q.otherBody
	}, expectation{Stale, NoTransition, Absent}},
	{"succeeded, differs", func(s shape, _ resolveAsk) bool { return s.state == Succeeded }, expectation{Stale, T14, Absent}},
	{"failed, happened after all", func(s shape, q resolveAsk) bool { return s.state == Failed && q.verdict == ResolveHappened }, expectation{Stale, T14, Absent}},
	{"failed, agreed", func(s shape, _ resolveAsk) bool { return s.state == Failed }, expectation{Stale, NoTransition, Absent}},
	{"another attempt", func(_ shape, q resolveAsk) bool { return q.otherAttempt }, expectation{Stale, NoTransition, Absent}},
	{"owner dead, never repeated", func(s shape, q resolveAsk) bool {
		return q.verdict == ResolvePark && s.state == Claimed && (s.policy == "at-most-once" || s.policy == "transactional")
	}, expectation{Parked, T5, Uncertain}},
	{"owner dead, left to the lease", func(_ shape, q resolveAsk) bool { return q.verdict == ResolvePark }, expectation{Stale, NoTransition, Absent}},
	{"not uncertain", func(s shape, _ resolveAsk) bool { return s.state != Uncertain }, expectation{Stale, NoTransition, Absent}},
	{"settles nothing", func(_ shape, q resolveAsk) bool { return q.verdict == ResolveNote }, expectation{Parked, NoTransition, Absent}},
	{"happened", func(_ shape, q resolveAsk) bool { return q.verdict == ResolveHappened }, expectation{Applied, T12, Succeeded}},
	{"refused", func(_ shape, q resolveAsk) bool { return q.verdict == ResolveRefused }, expectation{Applied, T12, Failed}},
	{"never will, opted in", func(s shape, q resolveAsk) bool { return q.verdict == ResolveNeverWill && s.optIn }, expectation{Applied, T12, Released}},
	{"never will", func(_ shape, q resolveAsk) bool { return q.verdict == ResolveNeverWill }, expectation{Applied, T12, Failed}},
	{"run again", func(shape, resolveAsk) bool { return true }, expectation{Applied, T12, Released}},
}

func TestResolveRule(t *testing.T) {
	j := newJudged()
	var lines []string
	for _, l := range resolveLines {
		lines = append(lines, l.name)
	}
	for _, s := range shapes() {
		for verdict := ResolveHappened; verdict <= ResolveNote; verdict++ {
			for _, who := range []Who{ByReconciler, ByOperator, BySweeper} {
				for mask := range 4 {
					q := resolveAsk{verdict, who, mask&1 != 0, mask&2 != 0}
					before := s.record()
					n := q.resolution(before.Attempt)
					step := before.Resolve(n, ruleNow)
					about := fmt.Sprintf("%v told %+v", s, q)
					for _, line := range resolveLines {
						if !line.when(s, q) {
							continue
						}
						want := line.want
						if want.to == Absent {
							want.to = s.state
						}
						if want.transition == T12 {
							want.transition = q.takes()
						}
						j.check(t, line.name, want, before, step, about)
						break
					}
					resolveDetails(t, before, q, step, about)
					resolveTwice(t, step, n, about)
				}
			}
		}
	}
	j.every(t, lines, T5, T12, T13, T14)
}

func resolveDetails(t *testing.T, before Record, q resolveAsk, step Step, about string) {
	t.Helper()
	r := step.Record
	neverWill := step.Write && q.verdict == ResolveNeverWill
	runAgain := step.Write && q.verdict == ResolveRunAgain
	switch {
	case (r.Generation > before.Generation) != (neverWill && r.State == Released):
		t.Fatalf("%s: generation went from %d to %d", about, before.Generation, r.Generation)
	case neverWill && r.UnknownAttempt:
		t.Fatalf("%s: never-will covers every attempt", about)
	case runAgain && (!r.Waived || !r.UnknownAttempt || !r.ordered()):
		t.Fatalf("%s: the order is recorded as %+v", about, r)
	case !runAgain && r.Waived != before.Waived:
		t.Fatalf("%s: waived without an order", about)
	case step.Outcome == Applied && step.Write && q.who == ByOperator && (r.SettledBy != "operator:bob" || r.Reason == ""):
		t.Fatalf("%s: decided by %q because %q", about, r.SettledBy, r.Reason)
	case (step.Write || step.Transition == T14 || step.Outcome == Parked) && len(step.Evidence) != 1:
		t.Fatalf("%s: %d pieces of evidence", about, len(step.Evidence))
	}
}

func resolveTwice(t *testing.T, first Step, n Resolution, about string) {
	t.Helper()
	again := first.Record.Resolve(n, ruleNow)
	want := first.Outcome
	if first.Write {
		want = Applied // done already
	}
	if again.Outcome != want || again.Write || again.Record.State != first.Record.State || again.Record.Generation != first.Record.Generation {
		t.Fatalf("%s: first %s (%s), again %s (%s), written %v", about, first.Outcome, first.Record.State, again.Outcome, again.Record.State, again.Write)
	}
}

func TestResolutionValidate(t *testing.T) {
	good := resolveAsk{verdict: ResolveHappened, who: ByOperator}.resolution(1)
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Resolution){
		"no name":              func(n *Resolution) { n.By = "" },
		"no reason":            func(n *Resolution) { n.Reason = "" },
		"no verdict":           func(n *Resolution) { n.Verdict = 0 },
		"unknown verdict":      func(n *Resolution) { n.Verdict = ResolveNote + 1 },
		"the owner":            func(n *Resolution) { n.Who = ByOwner },
		"a machine's order":    func(n *Resolution) { n.Verdict, n.Who = ResolveRunAgain, ByReconciler },
		"an observer's ending": func(n *Resolution) { n.Who = BySweeper },
	} {
		n := good
		change(&n)
		if n.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestPruneRule(t *testing.T) {
	const day = 24 * time.Hour
	j := newJudged()
	for _, s := range shapes() {
		for _, age := range []time.Duration{day, 31 * day, 401 * day} {
			for _, forever := range []bool{false, true} {
				before := s.record()
				before.Since = ruleNow.Add(-age)
				if forever {
					before.ResultRetention, before.IdentityRetention = Forever, Forever
				}
				line, want := "kept", expectation{Stale, NoTransition, s.state}
				switch {
				case forever || s.state == Absent:
				case age > 400*day && (s.state.Final() || s.state == Released && !s.unknown):
					line, want = "deleted", expectation{Applied, T15, Absent}
				case age > 30*day && s.state.Final():
					line, want = "tombstone", expectation{Applied, T15, s.state}
				}
				step := before.Prune(ruleNow)
				j.check(t, line, want, before, step, fmt.Sprintf("%v aged %s, for ever %v", s, age, forever))
				if line == "tombstone" {
					r := step.Record
					if !r.Pruned || r.Result.Body != nil || r.Result.Missing != BodyPruned || r.Input != nil || r.Result.Digest != before.Result.Digest {
						t.Fatalf("%v: the tombstone is %+v", s, r)
					}
					if again := r.Prune(ruleNow); again.Write || again.Delete {
						t.Fatalf("%v: a tombstone is pruned again", s)
					}
				}
				if (line == "deleted") != step.Delete {
					t.Fatalf("%v: delete is %v at line %s", s, step.Delete, line)
				}
			}
		}
	}
	j.every(t, []string{"kept", "deleted", "tombstone"}, T15)
}

func TestImportRule(t *testing.T) {
	given := shape{state: Succeeded, policy: "at-most-once", attempt: 1}.record()
	if step := (Record{}).Import(given); step.Outcome != Applied || !step.Write || step.Record.State != Succeeded {
		t.Errorf("an absent record is answered %s", step.Outcome)
	}
	for _, s := range shapes() {
		if s.state == Absent {
			continue
		}
		step, want := s.record().Import(given), Stale
		if s.state == Succeeded {
			want = Settled // the same work, imported again
		}
		if step.Outcome != want || step.Write {
			t.Fatalf("%v: %s, written %v; want %s", s, step.Outcome, step.Write, want)
		}
	}
}
