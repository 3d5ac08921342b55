package simtest

import (
	"time"

	"github.com/onceguard/onceguard"
)

// spec is one request as section 3 of the design has it, with the store's
// clock, and without the rules of the guard: what the histories are compared
// with. It is a value, so that a checker can go back to it.
type spec struct {
	state   onceguard.State
	attempt int64
	owner   int
	policy  onceguard.Policy
	input   int
	lease   int64 // when it ends
	keyed   int64 // since when the downstream key is in use
	unknown bool
	waived  bool
	ordered bool
	optIn   bool
	by      string
	body    string
	decided string
}

// said is what a call of the store answers.
type said struct {
	outcome onceguard.Outcome
	state   onceguard.State
	attempt int64
}

func (s spec) repeats(p onceguard.Policy, at int64) bool {
	most := int64(p.MaxAttempts)
	if most == 0 {
		most = onceguard.DefaultMaxAttempts
	}
	return (p.Kind == onceguard.RerunKind || p.Kind == onceguard.SafeRetryKind) && s.attempt < most && !s.over(p, at)
}

func (s spec) over(p onceguard.Policy, at int64) bool {
	return p.Kind == onceguard.SafeRetryKind && s.keyed+int64(p.Horizon) <= at
}

func (s spec) says(o onceguard.Outcome) (spec, said) { return s, said{o, s.state, s.attempt} }

func (s spec) final() bool { return s.state == onceguard.Succeeded || s.state == onceguard.Failed }

func (s spec) parked() spec {
	s.state, s.decided = onceguard.Uncertain, ""
	return s
}

func (s spec) ended(st onceguard.State, by, body string) spec {
	s.state, s.by, s.body = st, by, body
	return s
}

// next is what an input does to the request at a time.
func (s spec) next(in input, at int64) (spec, said) {
	if s.state == onceguard.Absent && in.kind != "claim" && in.kind != "transact" {
		if in.kind == "get" {
			return s, said{outcome: onceguard.Missing}
		}
		return s.says(onceguard.Missing)
	}
	switch in.kind {
	case "claim":
		return s.claim(in, at)
	case "transact":
		return s.transact(in, at)
	case "renew":
		if s.state != onceguard.Claimed || s.owner != in.token || s.attempt != in.attempt {
			return s.says(onceguard.Fenced)
		}
		s.lease = max(s.lease, at+int64(in.lease))
		return s.says(onceguard.Applied)
	case "settle":
		return s.settle(in, at)
	case "resolve":
		return s.resolve(in)
	case "sweep":
		if s.state == onceguard.Claimed && s.lease <= at && !s.repeats(s.policy, at) {
			return s.parked().says(onceguard.Parked)
		}
		return s.says(onceguard.Stale)
	}
	return s.says(onceguard.Found)
}

func (s spec) claim(in input, at int64) (spec, said) {
	fresh := s.state == onceguard.Absent || s.state == onceguard.Released && !s.unknown
	if !fresh && s.input != in.input {
		return s, said{outcome: onceguard.Mismatched}
	}
	start := func(s spec) (spec, said) {
		s.state, s.owner, s.lease, s.decided = onceguard.Claimed, in.token, at+int64(in.lease), ""
		s.attempt++
		return s.says(onceguard.Granted)
	}
	switch {
	case s.final():
		return s.says(onceguard.Settled)
	case s.state == onceguard.Uncertain:
		return s.says(onceguard.Parked)
	case s.state == onceguard.Released && s.owner == in.token:
		return s.says(onceguard.Fenced)
	case fresh:
		s.policy, s.input, s.optIn, s.keyed, s.ordered = in.policy, in.input, in.optIn, at, false
		return start(s)
	case s.state == onceguard.Released:
		never := s.policy.Kind == onceguard.AtMostOnceKind || s.policy.Kind == onceguard.TransactionalKind
		if !s.ordered && (never || s.over(s.policy, at)) {
			return s.parked().says(onceguard.Parked)
		}
		if s.over(s.policy, at) {
			s.keyed = at
		}
		return start(s)
	case s.owner == in.token:
		s.lease = at + int64(in.lease)
		return s.says(onceguard.Granted)
	case at < s.lease:
		return s.says(onceguard.Held)
	case s.repeats(s.policy, at):
		s.unknown, s.ordered = true, false
		return start(s)
	}
	return s.parked().says(onceguard.Parked)
}

func (s spec) transact(in input, at int64) (spec, said) {
	if s.state != onceguard.Absent && s.state != onceguard.Released {
		return s.claim(in, at)
	}
	s, a := s.claim(in, at)
	if a.outcome != onceguard.Granted {
		return s, a
	}
	return s.ended(onceguard.Succeeded, "owner", "").says(onceguard.Settled)
}

func (s spec) settle(in input, at int64) (spec, said) {
	mine := s.owner == in.token && s.attempt == in.attempt
	switch {
	case s.final():
		return s.says(onceguard.Settled)
	case mine && s.state == onceguard.Released && in.verb == onceguard.SettleReleased:
		return s.says(onceguard.Applied)
	case !mine || s.state == onceguard.Released:
		return s.says(onceguard.Fenced)
	}
	switch in.verb {
	case onceguard.SettleSucceeded:
		return s.ended(onceguard.Succeeded, "owner", in.body).says(onceguard.Settled)
	case onceguard.SettleFailed:
		if s.unknown && (s.policy.Refusals != onceguard.RefusalsRemembered || s.waived) {
			return s.parked().says(onceguard.Parked)
		}
		return s.ended(onceguard.Failed, "owner", in.body).says(onceguard.Settled)
	case onceguard.SettleReleased:
		s.state, s.decided = onceguard.Released, ""
		return s.says(onceguard.Applied)
	}
	if s.state == onceguard.Uncertain {
		return s.says(onceguard.Parked)
	}
	if s.repeats(s.policy, at) {
		s.lease, s.unknown, s.ordered = at, true, false
		return s.says(onceguard.Applied)
	}
	return s.parked().says(onceguard.Parked)
}

func (s spec) resolve(in input) (spec, said) {
	current := s.attempt == in.attempt
	decision := in.verdict.String() + " " + in.by
	switch {
	case s.final():
		same := (in.verdict == onceguard.ResolveHappened) == (s.state == onceguard.Succeeded) &&
			in.verdict != onceguard.ResolveNote && in.verdict != onceguard.ResolveRunAgain
		if same && s.by == in.by {
			return s.says(onceguard.Applied)
		}
		return s.says(onceguard.Stale)
	case current && s.state == onceguard.Released && s.decided == decision:
		return s.says(onceguard.Applied)
	case s.state != onceguard.Uncertain || !current:
		return s.says(onceguard.Stale)
	case in.verdict == onceguard.ResolveNote:
		return s.says(onceguard.Parked)
	}
	s.decided = decision
	switch in.verdict {
	case onceguard.ResolveHappened:
		return s.ended(onceguard.Succeeded, in.by, in.body).says(onceguard.Applied)
	case onceguard.ResolveRefused:
		return s.ended(onceguard.Failed, in.by, in.body).says(onceguard.Applied)
	case onceguard.ResolveRunAgain:
		s.state, s.unknown, s.waived, s.ordered = onceguard.Released, true, true, true
		return s.says(onceguard.Applied)
	}
	s.unknown, s.ordered = false, false
	if s.optIn {
		s.state = onceguard.Released
		return s.says(onceguard.Applied)
	}
	return s.ended(onceguard.Failed, in.by, "").says(onceguard.Applied)
}

// stamp is a time of the store's clock as the specification counts it.
func stamp(t time.Time) int64 { return t.UnixNano() }
