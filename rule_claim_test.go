package onceguard

import (
	"fmt"
	"testing"
	"time"
)

// claimAsk is one claim about a record.
type claimAsk struct {
	mine, otherInput, otherKey bool
	declared                   string
}

func (q claimAsk) claim() Claim {
	c := Claim{
		ID: RequestID{7}, Scope: "default", Action: "refund.create", Key: "order=1", Fingerprints: []Fingerprint{ruleInput},
		Policy: rulePolicies[q.declared], Owner: ruleStranger, Process: "host/2", Lease: time.Minute,
		ResultRetention: time.Hour, IdentityRetention: 400 * 24 * time.Hour,
	}
	if q.mine {
		c.Owner = ruleOwner
	}
	if q.otherInput {
		c.Fingerprints[0] = ruleOther
	}
	if q.otherKey {
		c.Fingerprints[0].KeyID = "k2"
	}
	return c
}

// strictKind is the stricter kind, by name: neither repeats, or the safer one.
func strictKind(a, b Policy) Policy {
	for _, p := range []Policy{a, b} {
		if p.Kind == AtMostOnceKind || p.Kind == TransactionalKind {
			return p
		}
	}
	if a.Kind == RerunKind {
		return b
	}
	return a
}

var claimLines = []struct {
	name string
	when func(shape, claimAsk) bool
	want expectation
}{
	{"nothing there", func(s shape, _ claimAsk) bool { return s.state == Absent }, expectation{Granted, T1, Claimed}},
	{"fingerprint key not offered", func(_ shape, q claimAsk) bool { return q.otherKey }, expectation{KeyUnknown, NoTransition, Absent}},
	{"another input, claimed", func(s shape, q claimAsk) bool { return q.otherInput && s.state == Claimed }, expectation{Mismatched, NoTransition, Claimed}},
	{"another input, uncertain", func(s shape, q claimAsk) bool { return q.otherInput && s.state == Uncertain }, expectation{Mismatched, NoTransition, Uncertain}},
	{"another input, succeeded", func(s shape, q claimAsk) bool { return q.otherInput && s.state == Succeeded }, expectation{Mismatched, NoTransition, Succeeded}},
	{"another input, failed", func(s shape, q claimAsk) bool { return q.otherInput && s.state == Failed }, expectation{Mismatched, NoTransition, Failed}},
	{"another input, released with an unknown attempt", func(s shape, q claimAsk) bool {
		return q.otherInput && s.state == Released && s.unknown
	}, expectation{Mismatched, NoTransition, Released}},
	{"succeeded", func(s shape, _ claimAsk) bool { return s.state == Succeeded }, expectation{Settled, NoTransition, Succeeded}},
	{"failed", func(s shape, _ claimAsk) bool { return s.state == Failed }, expectation{Settled, NoTransition, Failed}},
	{"uncertain", func(s shape, _ claimAsk) bool { return s.state == Uncertain }, expectation{Parked, NoTransition, Uncertain}},
	{"the released token again", func(s shape, q claimAsk) bool { return s.state == Released && q.mine }, expectation{Fenced, NoTransition, Released}},
	{"released, nothing unknown", func(s shape, _ claimAsk) bool { return s.state == Released && !s.unknown }, expectation{Granted, T3, Claimed}},
	{"released by a person's order", func(s shape, _ claimAsk) bool { return s.state == Released && s.ordered }, expectation{Granted, T3, Claimed}},
	{"released, unknown, the stricter policy never repeats", func(s shape, q claimAsk) bool {
		k := strictKind(rulePolicies[s.policy], rulePolicies[q.declared]).Kind
		return s.state == Released && k != RerunKind && k != SafeRetryKind
	}, expectation{Parked, T3, Uncertain}},
	{"released, unknown, horizon over", func(s shape, q claimAsk) bool {
		return s.state == Released && s.horizonOver && strictKind(rulePolicies[s.policy], rulePolicies[q.declared]).Kind == SafeRetryKind
	}, expectation{Parked, T3, Uncertain}},
	{"released, unknown, within the horizon", func(s shape, _ claimAsk) bool { return s.state == Released }, expectation{Granted, T3, Claimed}},
	{"own claim again", func(_ shape, q claimAsk) bool { return q.mine }, expectation{Granted, T2, Claimed}},
	{"lease running", func(s shape, _ claimAsk) bool { return !s.leaseOver }, expectation{Held, NoTransition, Claimed}},
	{"lease over, may be repeated", func(s shape, q claimAsk) bool {
		return s.repeatable(strictKind(rulePolicies[s.policy], rulePolicies[q.declared]))
	}, expectation{Granted, T4, Claimed}},
	{"lease over", func(shape, claimAsk) bool { return true }, expectation{Parked, T5, Uncertain}},
}

func TestClaimRule(t *testing.T) {
	j := newJudged()
	for _, s := range shapes() {
		for declared := range rulePolicies {
			for mask := range 8 {
				q := claimAsk{mask&1 != 0, mask&2 != 0, mask&4 != 0, declared}
				for _, line := range claimLines {
					if !line.when(s, q) {
						continue
					}
					before := s.record()
					step := before.Claim(q.claim(), ruleNow)
					about := fmt.Sprintf("%v asked %+v", s, q)
					j.check(t, line.name, line.want, before, step, about)
					if want := q.mine && (s.state == Uncertain || s.state == Claimed || s.state == Released) &&
						step.Outcome != Mismatched && step.Outcome != KeyUnknown && step.Transition != T3; step.Mine != want {
						t.Fatalf("%s: mine is %v, want %v", about, step.Mine, want)
					}
					claimDetails(t, s, q, step, about)
					break
				}
			}
		}
	}
	var lines []string
	for _, l := range claimLines {
		lines = append(lines, l.name)
	}
	j.every(t, lines, T1, T2, T3, T4, T5)
}

// claimDetails checks what the granted or parked record says.
func claimDetails(t *testing.T, s shape, q claimAsk, step Step, about string) {
	t.Helper()
	r := step.Record
	switch {
	case step.Outcome == Granted && !r.Owner.Is(q.claim().Owner),
		step.Outcome == Granted && !r.LeaseUntil.Equal(ruleNow.Add(time.Minute)):
		t.Fatalf("%s: the grant gives %+v", about, r)
	case step.Transition == T4 && (!r.UnknownAttempt || r.ordered()):
		t.Fatalf("%s: a takeover leaves the attempt before it unknown, and no order covers that", about)
	case step.Outcome == Granted && s.unknown && s.state == Released && !r.UnknownAttempt:
		t.Fatalf("%s: the unknown attempt is forgotten", about)
	case (step.Transition == T4 || step.Transition == T3 && s.unknown) && r.Policy != stricter(rulePolicies[s.policy], rulePolicies[q.declared]):
		t.Fatalf("%s: the row goes by %+v, not by the stricter", about, r.Policy)
	case step.Transition == T3 && step.Outcome == Granted && !s.unknown && (r.Policy != rulePolicies[q.declared] || !r.KeyedAt.Equal(ruleNow) || r.Fingerprint != q.claim().Fingerprints[0]):
		t.Fatalf("%s: nothing happened, yet the row keeps %+v", about, r)
	case step.Transition == T3 && step.Outcome == Granted && s.ordered && !r.ordered():
		t.Fatalf("%s: the order ended before its run", about)
	case step.Outcome == Granted && r.State == Claimed && step.Transition != T2:
		if left, ok := r.HorizonLeft(ruleNow); ok && left <= 0 {
			t.Fatalf("%s: granted with %s of the horizon left", about, left)
		}
	}
}

func TestClaimRuleOfOldKeys(t *testing.T) {
	c := claimAsk{declared: "at-most-once"}.claim()
	for issued, want := range map[time.Duration]Outcome{-399 * 24 * time.Hour: Granted, -401 * 24 * time.Hour: TooOld, time.Hour: Granted} {
		c.IssuedAt = ruleNow.Add(issued)
		if got := (Record{}).Claim(c, ruleNow).Outcome; got != want {
			t.Errorf("a key issued %s from now is answered %s, want %s", issued, got, want)
		}
	}
	c.IdentityRetention = Forever
	c.IssuedAt = ruleNow.Add(-100_000 * time.Hour)
	if got := (Record{}).Claim(c, ruleNow).Outcome; got != Granted {
		t.Errorf("with identities kept for ever an old key is answered %s", got)
	}
}

func TestMismatchRevealsNothing(t *testing.T) {
	step := shape{state: Succeeded, policy: "rerun", attempt: 1}.record().Claim(claimAsk{otherInput: true, declared: "rerun"}.claim(), ruleNow)
	if a := step.Answer(ruleNow); a.Outcome != Mismatched || a.Record.State != Absent || a.Record.Result.Body != nil || a.Record.Action != "" {
		t.Errorf("the answer shows %+v", a.Record)
	}
}

func TestSweepRule(t *testing.T) {
	j := newJudged()
	for _, s := range shapes() {
		line, want := "left alone", expectation{Stale, NoTransition, s.state}
		switch {
		case s.state == Claimed && s.leaseOver && s.repeatable(rulePolicies[s.policy]):
			line = "left to the next claim"
		case s.state == Claimed && s.leaseOver:
			line, want = "parked", expectation{Parked, T5, Uncertain}
		}
		before := s.record()
		j.check(t, line, want, before, before.Sweep(ruleNow), s.String())
	}
	j.every(t, []string{"left alone", "left to the next claim", "parked"}, T5)
}

func TestFreezeRule(t *testing.T) {
	frozen, granted := 0, 0
	for _, s := range shapes() {
		for declared := range rulePolicies {
			for _, mine := range []bool{false, true} {
				q := claimAsk{mine: mine, declared: declared}
				before := s.record()
				plain := before.Claim(q.claim(), ruleNow)
				step := plain.Freeze(q.claim())
				repeats := func(p Policy) bool { return p.Kind == RerunKind || p.Kind == SafeRetryKind }
				switch {
				case plain.Outcome != Granted || repeats(plain.Record.Policy) && repeats(q.claim().Policy):
					if step.Outcome != plain.Outcome || step.Transition != plain.Transition || step.Write != plain.Write {
						t.Fatalf("%v asked %+v: freezing made %s of %s", s, q, step.Outcome, plain.Outcome)
					}
					granted++
				case step.Outcome != Frozen || step.Write || step.Transition != NoTransition || step.Record.State != Absent:
					t.Fatalf("%v asked %+v: a frozen store answers %s", s, q, step.Outcome)
				default:
					frozen++
				}
			}
		}
	}
	if frozen == 0 || granted == 0 {
		t.Errorf("%d frozen and %d others: the test met one side only", frozen, granted)
	}
}

func TestTransactRule(t *testing.T) {
	j := newJudged()
	for _, s := range shapes() {
		for _, mine := range []bool{false, true} {
			q := claimAsk{mine: mine, declared: "transactional"}
			before := s.record()
			claim, step := before.Claim(q.claim(), ruleNow), before.Transact(q.claim(), ruleNow)
			about := fmt.Sprintf("%v asked %+v", s, q)
			if claim.Outcome != step.Outcome {
				t.Fatalf("%s: a transaction is answered %s, a claim %s", about, step.Outcome, claim.Outcome)
			}
			if step.Outcome != Granted || claim.Transition == T2 {
				continue
			}
			if step.Transition != NoTransition {
				t.Fatalf("%s: %s before the commit", about, step.Transition)
			}
			done := step.Record.Commit(before.State, NewResult("t", []byte("paid")), ruleNow)
			j.lines[before.State.String()]++
			if done.Outcome != Settled || done.Transition != T11 || !done.Mine || !done.Write || done.Record.State != Succeeded ||
				done.Record.Attempt != before.Attempt+1 || !done.Record.LeaseUntil.IsZero() || !done.Record.Result.Intact() {
				t.Fatalf("%s: committed as %+v", about, done)
			}
		}
	}
	j.every(t, []string{"absent", "released"})
}
