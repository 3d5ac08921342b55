package storesuite

import (
	"time"

	"github.com/onceguard/onceguard"
)

// model is one request as section 3 of the design describes it, written a
// second time and without the Record rules, so that the two can be compared.
// It knows no clock: a lease of zero has lapsed at the next step and any other
// runs until a jump; a horizon of soon is over at the next step, any other never.
type model struct {
	state      onceguard.State
	attempt    int64
	owner      int // number of the token, from 1
	policy     onceguard.Policy
	input      int
	lapsed     bool
	unknown    bool // an attempt may have happened and cannot say so any more
	waived     bool
	ordered    bool // a person's order to run again is still owed
	optIn      bool // RunAfterNeverWill
	generation int
	body       string
	by         string // who settled
	decided    string // whose decision brought the record where it is
}

const (
	soon  = time.Microsecond
	never = 100_000 * time.Hour
)

type verbKind int

const (
	doClaim verbKind = iota
	doRenew
	doSettle
	doResolve
	doGet
)

// action is one call about one request.
type action struct {
	kind    verbKind
	token   int
	attempt int64
	policy  onceguard.Policy // claim
	input   int
	optIn   bool
	lease   time.Duration
	verb    onceguard.Verb // settle
	body    string         // settle, resolve
	verdict onceguard.ResolveVerdict
	by      string // resolve: "reconciler", "sweeper" or "operator:NAME"
}

// reply is what the store must answer.
type reply struct {
	outcome    onceguard.Outcome
	transition onceguard.Transition
	mine       bool
}

func (m model) next(a action) (model, reply) {
	switch a.kind {
	case doClaim:
		return m.claim(a)
	case doRenew:
		return m.renew(a)
	case doSettle:
		return m.settle(a)
	case doResolve:
		return m.resolve(a)
	}
	if m.state == onceguard.Absent {
		return m, reply{outcome: onceguard.Missing}
	}
	return m, reply{outcome: onceguard.Found}
}

// strict ranks policies; maxAttempts and over read one.
func strict(k onceguard.PolicyKind) int {
	return map[onceguard.PolicyKind]int{onceguard.RerunKind: 1, onceguard.SafeRetryKind: 2}[k] // others: 0
}

func maxAttempts(p onceguard.Policy) int64 {
	if p.MaxAttempts > 0 {
		return int64(p.MaxAttempts)
	}
	return 5
}

func over(p onceguard.Policy) bool {
	return p.Kind == onceguard.SafeRetryKind && p.Horizon == soon
}

// mayRepeat: an unknown attempt may be followed by another one.
func (m model) mayRepeat(p onceguard.Policy) bool {
	return strict(p.Kind) > 0 && m.attempt < maxAttempts(p) && !over(p)
}

// governing is the stricter of what the row and the caller say.
func governing(row, declared onceguard.Policy) onceguard.Policy {
	if strict(row.Kind) == 0 || strict(declared.Kind) == 0 { // nothing repeats
		kind := row.Kind
		if strict(kind) != 0 {
			kind = declared.Kind
		}
		return onceguard.Policy{Kind: kind, MaxAttempts: fewer(row, declared)}
	}
	p := onceguard.Policy{Kind: onceguard.RerunKind, MaxAttempts: fewer(row, declared)}
	for _, x := range []onceguard.Policy{row, declared} {
		if x.Kind != onceguard.SafeRetryKind {
			continue
		}
		if p.Kind != onceguard.SafeRetryKind || x.Horizon < p.Horizon {
			p.Horizon = x.Horizon
		}
		if p.Refusals != onceguard.RefusalsForgotten {
			p.Refusals = x.Refusals
		}
		p.Kind = onceguard.SafeRetryKind
	}
	return p
}

func fewer(row, declared onceguard.Policy) int {
	if maxAttempts(declared) < maxAttempts(row) {
		return declared.MaxAttempts
	}
	return row.MaxAttempts
}

func (m model) start(a action) model {
	m.state, m.owner, m.lapsed = onceguard.Claimed, a.token, a.lease == 0
	m.attempt++
	m.decided = ""
	return m
}

func (m model) park() model {
	m.state, m.lapsed, m.decided = onceguard.Uncertain, false, ""
	return m
}

func (m model) claim(a action) (model, reply) {
	mine := m.owner == a.token
	fresh := m.state == onceguard.Absent || m.state == onceguard.Released && !m.unknown
	if !fresh && m.input != a.input {
		return m, reply{outcome: onceguard.Mismatched}
	}
	switch {
	case m.state == onceguard.Succeeded || m.state == onceguard.Failed:
		return m, reply{outcome: onceguard.Settled}
	case m.state == onceguard.Uncertain:
		return m, reply{outcome: onceguard.Parked, mine: mine}
	case m.state == onceguard.Released && mine:
		return m, reply{outcome: onceguard.Fenced, mine: true}
	case fresh:
		t := onceguard.T3
		if m.state == onceguard.Absent {
			t = onceguard.T1
		}
		m.policy, m.input, m.optIn, m.ordered = a.policy, a.input, a.optIn, false
		return m.start(a), reply{outcome: onceguard.Granted, transition: t}
	case m.state == onceguard.Released:
		m.policy = governing(m.policy, a.policy)
		if !m.ordered && (strict(m.policy.Kind) == 0 || over(m.policy)) {
			return m.park(), reply{outcome: onceguard.Parked, transition: onceguard.T3}
		}
		return m.start(a), reply{outcome: onceguard.Granted, transition: onceguard.T3}
	case mine:
		m.lapsed = a.lease == 0
		return m, reply{onceguard.Granted, onceguard.T2, true}
	case !m.lapsed:
		return m, reply{outcome: onceguard.Held}
	}
	if p := governing(m.policy, a.policy); m.mayRepeat(p) {
		m.policy, m.unknown, m.ordered = p, true, false
		return m.start(a), reply{outcome: onceguard.Granted, transition: onceguard.T4}
	}
	return m.park(), reply{outcome: onceguard.Parked, transition: onceguard.T5}
}

func (m model) holds(a action) bool { return m.owner == a.token && m.attempt == a.attempt }

func (m model) renew(a action) (model, reply) {
	switch {
	case m.state == onceguard.Absent:
		return m, reply{outcome: onceguard.Missing}
	case m.state != onceguard.Claimed || !m.holds(a):
		return m, reply{outcome: onceguard.Fenced}
	}
	m.lapsed = m.lapsed && a.lease == 0
	return m, reply{onceguard.Applied, onceguard.T6, true}
}

func (m model) end(s onceguard.State, by, body string) model {
	m.state, m.by, m.body, m.lapsed = s, by, body, false
	return m
}

func (m model) settle(a action) (model, reply) {
	mine := m.holds(a)
	switch {
	case m.state == onceguard.Absent:
		return m, reply{outcome: onceguard.Missing}
	case m.state == onceguard.Succeeded || m.state == onceguard.Failed:
		r := reply{outcome: onceguard.Settled, mine: mine}
		switch {
		case a.verb == onceguard.SettleUnknown, a.verb == onceguard.SettleReleased && a.attempt != m.attempt:
		case a.verb == onceguard.SettleSucceeded && (m.state == onceguard.Failed || m.body != a.body),
			a.verb != onceguard.SettleSucceeded && m.state == onceguard.Succeeded:
			r.transition = onceguard.T14
		}
		return m, r
	case m.state == onceguard.Released && mine && a.verb == onceguard.SettleReleased:
		return m, reply{outcome: onceguard.Applied, mine: true}
	case m.state == onceguard.Released || !mine:
		return m, reply{outcome: onceguard.Fenced, mine: mine}
	case a.verb == onceguard.SettleSucceeded:
		return m.end(onceguard.Succeeded, "owner", a.body), reply{onceguard.Settled, onceguard.T7, true}
	case a.verb == onceguard.SettleFailed:
		sticky := m.policy.Kind == onceguard.SafeRetryKind && m.policy.Refusals == onceguard.RefusalsRemembered && !m.waived
		if m.unknown && !sticky {
			return m.park(), reply{onceguard.Parked, onceguard.T8, true}
		}
		return m.end(onceguard.Failed, "owner", a.body), reply{onceguard.Settled, onceguard.T8, true}
	case a.verb == onceguard.SettleReleased:
		m.state, m.lapsed, m.decided = onceguard.Released, false, ""
		return m, reply{onceguard.Applied, onceguard.T10, true}
	case m.state == onceguard.Uncertain:
		return m, reply{outcome: onceguard.Parked, mine: true}
	case m.mayRepeat(m.policy):
		m.lapsed, m.unknown, m.ordered = true, true, false
		return m, reply{onceguard.Applied, onceguard.T9b, true}
	}
	return m.park(), reply{onceguard.Parked, onceguard.T9, true}
}

func (m model) resolve(a action) (model, reply) {
	stale := reply{outcome: onceguard.Stale}
	current := m.attempt == a.attempt
	repeat := current && m.decided == a.verdict.String()+" "+a.by
	switch {
	case m.state == onceguard.Absent:
		return m, reply{outcome: onceguard.Missing}
	case m.state == onceguard.Succeeded || m.state == onceguard.Failed:
		return m, m.late(a)
	case repeat && (m.state == onceguard.Released || a.verdict == onceguard.ResolvePark && m.state == onceguard.Uncertain):
		return m, reply{outcome: onceguard.Applied}
	case a.verdict == onceguard.ResolvePark:
		if m.state != onceguard.Claimed || !current || strict(m.policy.Kind) > 0 {
			return m, stale
		}
		m = m.park()
		m.decided = a.verdict.String() + " " + a.by
		return m, reply{outcome: onceguard.Parked, transition: onceguard.T5}
	case m.state != onceguard.Uncertain || !current:
		return m, stale
	case a.verdict == onceguard.ResolveNote:
		return m, reply{outcome: onceguard.Parked}
	}
	r := reply{outcome: onceguard.Applied, transition: onceguard.T13}
	if a.by == "reconciler" {
		r.transition = onceguard.T12
	}
	m.decided = a.verdict.String() + " " + a.by
	switch {
	case a.verdict == onceguard.ResolveHappened:
		return m.end(onceguard.Succeeded, a.by, a.body), r
	case a.verdict == onceguard.ResolveRefused:
		return m.end(onceguard.Failed, a.by, a.body), r
	case a.verdict == onceguard.ResolveRunAgain:
		m.state, m.unknown, m.waived, m.ordered = onceguard.Released, true, true, true
		return m, r
	}
	m.unknown, m.ordered = false, false // never-will covers every attempt
	if m.optIn {
		m.state = onceguard.Released
		m.generation++
		return m, r
	}
	return m.end(onceguard.Failed, a.by, ""), r
}

// late is a verdict about a record that is final already.
func (m model) late(a action) reply {
	r := reply{outcome: onceguard.Stale}
	happened := a.verdict == onceguard.ResolveHappened
	switch {
	case a.verdict == onceguard.ResolveNote || a.verdict == onceguard.ResolveRunAgain || a.verdict == onceguard.ResolvePark:
		return r
	case happened == (m.state == onceguard.Succeeded):
		if m.by == a.by {
			r.outcome = onceguard.Applied
		}
		if happened && m.body != a.body {
			r.transition = onceguard.T14
		}
	default:
		r.transition = onceguard.T14
	}
	return r
}

// swept is the row after a sweep.
func (m model) swept() (model, bool) {
	if m.state == onceguard.Claimed && m.lapsed && !m.mayRepeat(m.policy) {
		return m.park(), true
	}
	return m, false
}
