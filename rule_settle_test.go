package onceguard

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// settleAsk is one word about an attempt.
type settleAsk struct {
	verb                     Verb
	otherToken, otherAttempt bool
	otherBody                bool
}

func (q settleAsk) owner() bool { return !q.otherToken && !q.otherAttempt }

func (q settleAsk) settlement(attempt int64) Settlement {
	n := Settlement{ID: RequestID{7}, Attempt: attempt, Owner: ruleOwner, Verb: q.verb, Result: NewResult("t", []byte("stored"))}
	if q.otherToken {
		n.Owner = ruleStranger
	}
	if q.otherAttempt {
		n.Attempt--
	}
	if q.otherBody {
		n.Result = NewResult("t", []byte("other"))
	}
	return n
}

var settleLines = []struct {
	name string
	when func(shape, settleAsk) bool
	want expectation // to Absent: the record's own state
}{
	{"nothing there", func(s shape, _ settleAsk) bool { return s.state == Absent }, expectation{Missing, NoTransition, Absent}},
	{"final, I do not know", func(s shape, q settleAsk) bool { return s.state.Final() && q.verb == SettleUnknown }, expectation{Settled, NoTransition, Absent}},
	{"succeeded, the same again", func(s shape, q settleAsk) bool {
		return s.state == Succeeded && q.verb == SettleSucceeded && !q.otherBody
	}, expectation{Settled, NoTransition, Absent}},
	{"succeeded, another attempt was released", func(s shape, q settleAsk) bool {
		return s.state == Succeeded && q.verb == SettleReleased && q.otherAttempt
	}, expectation{Settled, NoTransition, Absent}},
	{"succeeded, anything else", func(s shape, _ settleAsk) bool { return s.state == Succeeded }, expectation{Settled, T14, Absent}},
	{"failed, a late success", func(s shape, q settleAsk) bool { return s.state == Failed && q.verb == SettleSucceeded }, expectation{Settled, T14, Absent}},
	{"failed, agreed that nothing happened", func(s shape, _ settleAsk) bool { return s.state == Failed }, expectation{Settled, NoTransition, Absent}},
	{"released again", func(s shape, q settleAsk) bool {
		return s.state == Released && q.owner() && q.verb == SettleReleased
	}, expectation{Applied, NoTransition, Absent}},
	{"after a release", func(s shape, _ settleAsk) bool { return s.state == Released }, expectation{Fenced, NoTransition, Absent}},
	{"not the owner", func(_ shape, q settleAsk) bool { return !q.owner() }, expectation{Fenced, NoTransition, Absent}},
	{"success, however late", func(_ shape, q settleAsk) bool { return q.verb == SettleSucceeded }, expectation{Settled, T7, Succeeded}},
	{"refusal, nothing unknown", func(s shape, q settleAsk) bool { return q.verb == SettleFailed && !s.unknown }, expectation{Settled, T8, Failed}},
	{"refusal that the downstream remembers", func(s shape, q settleAsk) bool {
		return q.verb == SettleFailed && s.policy == "remembers" && !s.waived
	}, expectation{Settled, T8, Failed}},
	{"refusal, an earlier attempt unknown", func(_ shape, q settleAsk) bool { return q.verb == SettleFailed }, expectation{Parked, T8, Uncertain}},
	{"surely not done", func(_ shape, q settleAsk) bool { return q.verb == SettleReleased }, expectation{Applied, T10, Released}},
	{"unknown, parked already", func(s shape, _ settleAsk) bool { return s.state == Uncertain }, expectation{Parked, NoTransition, Absent}},
	{"unknown, may be repeated", func(s shape, _ settleAsk) bool { return s.repeatable(rulePolicies[s.policy]) }, expectation{Applied, T9b, Claimed}},
	{"unknown", func(shape, settleAsk) bool { return true }, expectation{Parked, T9, Uncertain}},
}

func TestSettleRule(t *testing.T) {
	j := newJudged()
	var lines []string
	for _, l := range settleLines {
		lines = append(lines, l.name)
	}
	for _, s := range shapes() {
		for verb := SettleSucceeded; verb <= SettleReleased; verb++ {
			for mask := range 8 {
				q := settleAsk{verb, mask&1 != 0, mask&2 != 0, mask&4 != 0}
				before := s.record()
				n := q.settlement(before.Attempt)
				step := before.Settle(n, ruleNow)
				about := fmt.Sprintf("%v told %+v", s, q)
				for _, line := range settleLines {
					if !line.when(s, q) {
						continue
					}
					want := line.want
					if want.to == Absent {
						want.to = s.state
					}
					j.check(t, line.name, want, before, step, about)
					break
				}
				if want := q.owner() && s.state != Absent; step.Mine != want {
					t.Fatalf("%s: mine is %v, want %v", about, step.Mine, want)
				}
				settleDetails(t, s, q, step, about)
				settleTwice(t, step, n, about)
			}
		}
	}
	j.every(t, lines, T7, T8, T9, T9b, T10, T14)
}

func settleDetails(t *testing.T, s shape, q settleAsk, step Step, about string) {
	t.Helper()
	lateWord := q.verb == SettleSucceeded || q.verb == SettleFailed
	switch {
	case step.Outcome == Fenced && lateWord != (len(step.Evidence) == 1),
		step.Transition == T14 && len(step.Evidence) != 1,
		step.Transition == T8 && step.Outcome == Parked && len(step.Evidence) != 1:
		t.Fatalf("%s: what it learned is not kept: %v", about, step.Evidence)
	case step.Transition == T9b && (!step.Record.UnknownAttempt || step.Record.LeaseUntil.After(ruleNow) || step.Record.ordered()):
		t.Fatalf("%s: left to the next claim as %+v", about, step.Record)
	case step.Transition == T10 && step.Record.ordered() != s.ordered:
		t.Fatalf("%s: a run that did not happen changed the order for it", about)
	case step.Transition == T7 && (step.Record.SettledBy != "owner" || !step.Record.Result.Intact()):
		t.Fatalf("%s: stored %+v", about, step.Record)
	}
}

// settleTwice sends the same word again, since the first answer may be lost.
func settleTwice(t *testing.T, first Step, n Settlement, about string) {
	t.Helper()
	again := first.Record.Settle(n, ruleNow)
	if again.Outcome != first.Outcome || again.Record.State != first.Record.State || again.Record.Attempt != first.Record.Attempt {
		t.Fatalf("%s: first %s (%s), again %s (%s)", about, first.Outcome, first.Record.State, again.Outcome, again.Record.State)
	}
	for _, e := range again.Evidence { // a store keeps equal evidence once
		for _, f := range first.Evidence {
			if e.Kind == f.Kind && (e.Attempt != f.Attempt || string(e.Body) != string(f.Body)) {
				t.Fatalf("%s: evidence %s again is not equal", about, e.Kind)
			}
		}
		if len(first.Evidence) == 0 {
			t.Fatalf("%s: only the second time leaves evidence %s", about, e.Kind)
		}
	}
}

func TestSettleRuleOfUnknownVerbs(t *testing.T) {
	before := shape{state: Claimed, policy: "at-most-once", attempt: 1}.record()
	for _, verb := range []Verb{0, SettleReleased + 1, 255} {
		step := before.Settle(settleAsk{verb: verb}.settlement(1), ruleNow)
		if step.Transition != T9 {
			t.Errorf("verb %d took %s: what is not understood is unknown", verb, step.Transition)
		}
	}
}

func TestRenewRule(t *testing.T) {
	j := newJudged()
	for _, s := range shapes() {
		for mask := range 4 {
			q := settleAsk{otherToken: mask&1 != 0, otherAttempt: mask&2 != 0}
			before := s.record()
			n := q.settlement(before.Attempt)
			for _, lease := range []time.Duration{time.Second, time.Hour} {
				step := before.Renew(Renewal{ID: n.ID, Attempt: n.Attempt, Owner: n.Owner, Lease: lease}, ruleNow)
				line, want := "renewed", expectation{Applied, T6, Claimed}
				switch {
				case s.state == Absent:
					line, want = "nothing there", expectation{Missing, NoTransition, Absent}
				case s.state != Claimed || !q.owner():
					line, want = "fenced", expectation{Fenced, NoTransition, s.state}
				}
				j.check(t, line, want, before, step, s.String())
				if step.Record.LeaseUntil.Before(before.LeaseUntil) {
					t.Fatalf("%v: the lease became shorter", s)
				}
				if line == "renewed" {
					step.Record.LeaseUntil = before.LeaseUntil
					if broken := invariants(before, Step{Record: step.Record}); broken != nil {
						t.Fatalf("%v: a renewal changed more than the lease: %v", s, broken)
					}
				}
			}
		}
	}
	j.every(t, []string{"renewed", "nothing there", "fenced"}, T6)
}

func TestCheckpointRule(t *testing.T) {
	j := newJudged()
	for _, s := range shapes() {
		for mask := range 4 {
			q := settleAsk{otherToken: mask&1 != 0, otherAttempt: mask&2 != 0}
			before := s.record()
			n := q.settlement(before.Attempt)
			step := before.Checkpoint(Checkpoint{ID: n.ID, Attempt: n.Attempt, Owner: n.Owner, Body: []byte("re_1")})
			line, want := "kept", expectation{Applied, NoTransition, s.state}
			switch {
			case s.state == Absent:
				line, want = "nothing there", expectation{Missing, NoTransition, Absent}
			case s.state == Released || !q.owner():
				line, want = "fenced", expectation{Fenced, NoTransition, s.state}
			}
			j.check(t, line, want, before, step, s.String())
			if (line == "kept") != (len(step.Evidence) == 1) {
				t.Fatalf("%v: %s with %d pieces of evidence", s, line, len(step.Evidence))
			}
		}
	}
	j.every(t, []string{"kept", "nothing there", "fenced"})
}

// An outcome must not be lost because its reason was malformed or long.
func TestReasonsAreMadeStorable(t *testing.T) {
	before := shape{state: Claimed, policy: "at-most-once", attempt: 1}.record()
	for _, reason := range []string{"a\x00b", "a\xffb", strings.Repeat("€", MaxReason), strings.Repeat("x", MaxReason+1), strings.Repeat("\xff", 2*MaxReason)} {
		n := settleAsk{verb: SettleFailed}.settlement(1)
		n.Reason = reason
		for what, got := range map[string]string{
			"refusal":  before.Settle(n, ruleNow).Record.Reason,
			"evidence": Evidence{Detail: reason}.Bounded().Detail,
		} {
			if !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > MaxReason || got == "" {
				t.Errorf("%s: %.20q... became %d bytes, valid %v", what, reason, len(got), utf8.ValidString(got))
			}
		}
	}
	body := make([]byte, MaxEvidenceBody+1)
	if e := (Evidence{Detail: "d", Body: body}).Bounded(); len(e.Body) != MaxEvidenceBody || e.Detail != "d (body cut)" {
		t.Errorf("a long body became %d bytes and says %q", len(e.Body), e.Detail)
	}
}
