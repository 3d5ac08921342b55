package onceguard

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ghost is what the world knows and the record cannot: for each attempt,
// whether its effect happens in the end, and who has accounted for it. Owners
// and lookups in these histories lie to nobody; they may be late, silent, or
// answer twice.
type ghost struct {
	token    Token
	happens  bool
	declined bool // its owner said, truthfully, that it did not and will not act
	covered  bool // never-will covers it
	ordered  bool // a person ordered another run although it is unknown
	keyed    time.Time
}

// life is one request, its attempts, and the downstream's real behaviour.
type life struct {
	*rapid.T
	now      time.Time
	record   Record
	attempts []ghost
	policy   string
	remember bool // the downstream remembers refusals within the horizon
	tokens   byte
}

// The promise, on random lives of one request: an attempt starts after one that
// may have happened only where the policy allows it or a person ordered it; a
// record that says "failed" is about an effect that never happened; final
// records stay; numbers only grow.
func TestPromiseOverRandomHistories(t *testing.T) {
	met := map[Transition]int{}
	rapid.Check(t, func(t *rapid.T) {
		for range 20 {
			l := &life{T: t, now: ruleNow}
			l.policy = rapid.SampledFrom([]string{"at-most-once", "rerun", "remembers", "forgets"}).Draw(t, "policy")
			l.remember = l.policy == "remembers"
			for range rapid.IntRange(0, 60).Draw(t, "steps") {
				met[l.step()]++
			}
		}
	})
	for x := T1; x <= T14; x++ {
		if x != T11 && met[x] == 0 {
			t.Errorf("no history took %s: %v", x, met)
		}
	}
}

func (l *life) draw(n int, label string) int { return rapid.IntRange(0, n-1).Draw(l.T, label) }

func (l *life) step() Transition {
	before := l.record
	var s Step
	switch l.draw(11, "step") {
	case 0, 1, 2:
		s = l.claim()
	case 3, 4, 5:
		s = l.settle()
	case 6, 7:
		s = l.resolve()
	case 8:
		s = before.Sweep(l.now)
	case 9:
		s = before.Renew(Renewal{ID: before.ID, Attempt: before.Attempt, Owner: l.last(), Lease: time.Minute}, l.now)
	default:
		l.now = l.now.Add([]time.Duration{time.Second, 2 * time.Minute, 2 * ruleHorizon}[l.draw(3, "time passes")])
		return NoTransition
	}
	if s.Write {
		l.record = s.Record
	}
	r := l.record
	switch {
	case before.State.Final() && (r.State != before.State || r.Result.Digest != before.Result.Digest || r.Attempt != before.Attempt):
		l.Fatalf("a final record changed by %s", s.Transition)
	case r.Attempt < before.Attempt || r.Attempt > before.Attempt+1 || int(r.Attempt) != len(l.attempts):
		l.Fatalf("attempt went from %d to %d, %d were granted", before.Attempt, r.Attempt, len(l.attempts))
	case r.Generation != before.Generation && !l.attempts[len(l.attempts)-1].covered:
		l.Fatalf("the downstream key changed by %s, and the old one may still be sent", s.Transition)
	case r.State == Failed:
		for i, a := range l.attempts {
			if a.happens {
				l.Fatalf("failed by %s, and attempt %d of %d happens: %+v", s.Transition, i+1, len(l.attempts), l.attempts)
			}
		}
	}
	return s.Transition
}

func (l *life) claim() Step {
	c := Claim{
		ID: RequestID{7}, Fingerprints: []Fingerprint{ruleInput}, Policy: rulePolicies[l.policy], Lease: time.Minute,
		ResultRetention: Forever, IdentityRetention: Forever, RunAfterNeverWill: l.draw(2, "opt in") == 1,
	}
	if l.draw(5, "another deploy") == 0 {
		c.Policy = rulePolicies[[]string{"at-most-once", "rerun", "forgets"}[l.draw(3, "declared")]]
	}
	resend := len(l.attempts) > 0 && l.draw(4, "resend") == 0
	if resend {
		c.Owner = l.attempts[l.draw(len(l.attempts), "of attempt")].token
	} else {
		l.tokens++
		c.Owner = Token{l.tokens}
	}
	s := l.record.Claim(c, l.now)
	if s.Outcome != Granted {
		return s
	}
	if s.Transition == T2 {
		return s
	}
	if resend && c.Owner == l.attempts[len(l.attempts)-1].token {
		l.Fatalf("the call that was granted the present attempt is granted another one by %s", s.Transition)
	}
	l.allowed(s, c.Policy)
	fate := l.draw(2, "happens") == 1
	l.attempts = append(l.attempts, ghost{token: c.Owner, happens: fate, keyed: s.Record.KeyedAt})
	return s
}

// last is the token of the present attempt.
func (l *life) last() Token {
	if len(l.attempts) == 0 {
		return Token{}
	}
	return l.attempts[len(l.attempts)-1].token
}

// allowed: every attempt that may have happened is accounted for.
func (l *life) allowed(s Step, declared Policy) {
	for i, a := range l.attempts {
		if a.declined || a.covered || a.ordered {
			continue
		}
		p := s.Record.Policy
		if !p.repeats() || !declared.repeats() {
			l.Fatalf("attempt %d starts by %s under %s, declared %s; attempt %d may have happened", len(l.attempts)+1, s.Transition, p.Kind, declared.Kind, i+1)
		}
		if p.Kind == SafeRetryKind && l.now.Sub(a.keyed) >= p.Horizon {
			l.Fatalf("attempt %d starts by %s past the horizon of attempt %d", len(l.attempts)+1, s.Transition, i+1)
		}
		if s.Transition == T4 && len(l.attempts) >= DefaultMaxAttempts {
			l.Fatalf("attempt %d starts by %s: the limit is %d", len(l.attempts)+1, s.Transition, DefaultMaxAttempts)
		}
	}
}

// settle is a truthful word of some attempt's owner, late or repeated.
func (l *life) settle() Step {
	if len(l.attempts) == 0 {
		return Step{Record: l.record}
	}
	i := len(l.attempts) - 1
	if l.draw(3, "an older owner") == 0 {
		i = l.draw(len(l.attempts), "of attempt")
	}
	a := &l.attempts[i]
	verb := SettleUnknown
	switch word := l.draw(4, "word"); {
	case word == 0:
	case a.happens:
		verb = SettleSucceeded
	case word == 1:
		verb, a.declined = SettleReleased, true
	case !a.declined && l.refusable(*a):
		verb, a.declined = SettleFailed, true
	}
	return l.record.Settle(Settlement{ID: l.record.ID, Attempt: int64(i + 1), Owner: a.token, Verb: verb, Result: NewResult("t", []byte{byte(i)})}, l.now)
}

// refusable: a downstream that remembers refusals answers a key that succeeded
// with that success for the horizon, so it cannot refuse it meanwhile.
func (l *life) refusable(a ghost) bool {
	for _, b := range l.attempts {
		if l.remember && b.happens && b.keyed.Equal(a.keyed) {
			return false
		}
	}
	return true
}

// resolve is a truthful verdict on what was read now, or a while ago.
func (l *life) resolve() Step {
	n := Resolution{ID: l.record.ID, Attempt: l.record.Attempt, Who: ByReconciler, Reason: "looked up"}
	if l.draw(2, "a person") == 1 {
		n.Who, n.By = ByOperator, "ada"
	}
	if l.draw(6, "read a while ago") == 0 {
		n.Attempt--
	}
	happens := false
	for _, a := range l.attempts[:max(0, min(int(n.Attempt), len(l.attempts)))] {
		happens = happens || a.happens
	}
	switch l.draw(4, "verdict") {
	case 0:
		n.Verdict = ResolveNote
	case 1:
		if n.Who != ByOperator {
			n.Who, n.Verdict = BySweeper, ResolvePark
			break
		}
		n.Verdict = ResolveRunAgain
	case 2:
		n.Verdict = ResolveRefused
		if happens {
			n.Verdict = ResolveHappened
		}
	default:
		n.Verdict = ResolveNeverWill
		if happens {
			n.Verdict = ResolveHappened
		}
	}
	s := l.record.Resolve(n, l.now)
	for i := range l.attempts {
		if s.Write && n.Verdict == ResolveNeverWill {
			l.attempts[i].covered = true
		}
		if s.Write && n.Verdict == ResolveRunAgain {
			l.attempts[i].ordered = true
		}
	}
	return s
}
