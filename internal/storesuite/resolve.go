package storesuite

import (
	"strings"
	"sync"

	"github.com/onceguard/onceguard"
)

var resolveCases = []testCase{
	{"happened, refused and never-will are final", resolveVerdicts},
	{"never-will of an action that opted in allows a fresh run", resolveNeverWill},
	{"a person's decision is recorded by name", resolveOperator},
	{"run again waives the guarantee", resolveRunAgain},
	{"the order to run again ends with the run it ordered", resolveRunAgainOnce},
	{"a refusal after run again settles nothing", resolveRunAgainRefused},
	{"a lookup about an earlier attempt is stale", resolveTorn},
	{"only uncertain records are resolved", resolveOnlyUncertain},
	{"a lookup that settles nothing is kept", resolveNote},
	{"the same decision again is answered as done", resolveAgain},
	{"a late and different verdict is evidence", resolveLate},
	{"a dead owner is parked early under at-most-once alone", resolvePark},
	{"incomplete decisions are refused", resolveInvalid},
	{"of many decisions one wins", resolveRace},
	{"the owner and a lookup at once agree on one end", resolveOwnerRace},
}

// parked returns a request whose first attempt is uncertain.
func (e *env) parked(options ...option) onceguard.Claim {
	e.Helper()
	c := e.granted(options...)
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
	return c
}

func verdict(c onceguard.Claim, attempt int64, v onceguard.ResolveVerdict) onceguard.Resolution {
	n := onceguard.Resolution{ID: c.ID, Attempt: attempt, Verdict: v, Who: onceguard.ByReconciler, Reason: "looked up"}
	if v == onceguard.ResolveHappened {
		n.Result = onceguard.NewResult("refund/1", []byte("found"))
	}
	return n
}

func person(n onceguard.Resolution) onceguard.Resolution {
	n.Who, n.By, n.Reason = onceguard.ByOperator, "ada", "asked the provider"
	return n
}

func resolveVerdicts(e *env) {
	for v, state := range map[onceguard.ResolveVerdict]onceguard.State{
		onceguard.ResolveHappened: onceguard.Succeeded, onceguard.ResolveRefused: onceguard.Failed, onceguard.ResolveNeverWill: onceguard.Failed,
	} {
		c := e.parked()
		a := e.resolve(verdict(c, 1, v), onceguard.Applied, onceguard.T12)
		r := e.state(c.ID, state, 1)
		e.same(a.Record, r)
		if r.SettledBy != "reconciler" || r.Generation != 0 || !strings.HasSuffix(r.Reason, "looked up") {
			e.Errorf("%s: by %q, generation %d, reason %q", v, r.SettledBy, r.Generation, r.Reason)
		}
		if v == onceguard.ResolveHappened && (string(r.Result.Body) != "found" || !r.Result.Intact()) {
			e.Errorf("result is %+v", r.Result)
		}
		if v == onceguard.ResolveNeverWill && !strings.HasPrefix(r.Reason, "never-happened") {
			e.Errorf("reason is %q", r.Reason)
		}
		e.claim(again(c), onceguard.Settled, onceguard.NoTransition)
		e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceResolution)
	}
}

func resolveNeverWill(e *env) {
	c := e.request()
	c.RunAfterNeverWill = true
	e.claim(c, onceguard.Granted, onceguard.T1)
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
	r := e.resolve(verdict(c, 1, onceguard.ResolveNeverWill), onceguard.Applied, onceguard.T12).Record
	if r.State != onceguard.Released || r.Generation != 1 || r.UnknownAttempt {
		e.Fatalf("%s, generation %d, unknown %v; want a release under a new downstream key", r.State, r.Generation, r.UnknownAttempt)
	}
	e.claim(c, onceguard.Fenced, onceguard.NoTransition) // a delayed duplicate of the parked claim
	e.settle(succeeds(c, 1), onceguard.Fenced, onceguard.NoTransition)
	r = e.claim(again(c), onceguard.Granted, onceguard.T3).Record
	if r.Attempt != 2 || r.Generation != 1 {
		e.Errorf("attempt %d, generation %d", r.Attempt, r.Generation)
	}
	e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceResolution, onceguard.EvidenceLate)

	// The verdict covers every attempt so far, the unknown ones too.
	c = e.request(under(forgets), leased(brief))
	c.RunAfterNeverWill = true
	e.claim(c, onceguard.Granted, onceguard.T1)
	e.lapse()
	second := again(c)
	e.claim(second, onceguard.Granted, onceguard.T4)
	e.settle(says(second, 2, onceguard.SettleFailed, "declined"), onceguard.Parked, onceguard.T8)
	r = e.resolve(verdict(c, 2, onceguard.ResolveNeverWill), onceguard.Applied, onceguard.T12).Record
	if r.State != onceguard.Released || r.UnknownAttempt {
		e.Errorf("%s, unknown %v", r.State, r.UnknownAttempt)
	}
}

func resolveOperator(e *env) {
	c := e.parked()
	e.resolve(person(verdict(c, 1, onceguard.ResolveRefused)), onceguard.Applied, onceguard.T13)
	r := e.claim(again(c), onceguard.Settled, onceguard.NoTransition).Record
	if r.SettledBy != "operator:ada" || r.Reason != "asked the provider" {
		e.Errorf("a replay shows %q, %q", r.SettledBy, r.Reason)
	}
}

func resolveRunAgain(e *env) {
	c := e.parked()
	a := e.resolve(person(verdict(c, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	if !a.Record.Waived || !a.Record.UnknownAttempt || a.Record.State != onceguard.Released || a.Record.Generation != 0 {
		e.Fatalf("%s, waived %v, unknown %v, generation %d", a.Record.State, a.Record.Waived, a.Record.UnknownAttempt, a.Record.Generation)
	}
	e.claim(c, onceguard.Fenced, onceguard.NoTransition)
	second := again(c)
	e.claim(second, onceguard.Granted, onceguard.T3)
	r := e.settle(succeeds(second, 2), onceguard.Settled, onceguard.T7).Record
	if !r.Waived {
		e.Error("the receipt does not show that its guarantee was waived")
	}
	e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceWaiver)
}

func resolveRunAgainOnce(e *env) {
	c := e.parked()
	e.resolve(person(verdict(c, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	second := again(c)
	e.claim(second, onceguard.Granted, onceguard.T3)
	e.release(second, 2) // the ordered run surely did not happen: it is still owed
	third := again(c)
	e.claim(third, onceguard.Granted, onceguard.T3)
	e.settle(says(third, 3, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
	e.claim(again(c), onceguard.Parked, onceguard.NoTransition)

	// Past the horizon an order gives the key a new one; what a takeover leaves
	// unknown after that is not covered by the order.
	short := onceguard.SafeRetry(brief, onceguard.RefusalsRemembered)
	c = e.granted(under(short))
	e.lapse()
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
	e.resolve(person(verdict(c, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	a := e.claim(again(c), onceguard.Granted, onceguard.T3)
	if left, ok := a.Record.HorizonLeft(a.Now); !ok || left <= 0 {
		e.Errorf("the ordered run has %s of its horizon left", left)
	}
}

func resolveRunAgainRefused(e *env) {
	for _, p := range []onceguard.Policy{atMostOnce, onceguard.SafeRetry(brief, onceguard.RefusalsRemembered)} {
		c := e.granted(under(p))
		e.lapse()
		e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
		e.resolve(person(verdict(c, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
		second := again(c)
		e.claim(second, onceguard.Granted, onceguard.T3)
		e.settle(says(second, 2, onceguard.SettleFailed, "declined"), onceguard.Parked, onceguard.T8)
		e.state(c.ID, onceguard.Uncertain, 2)
	}
}

func resolveTorn(e *env) {
	c := e.parked()
	asked := e.found(c.ID).Attempt // the decider reads, then asks for long
	e.release(c, 1)
	second := again(c)
	e.claim(second, onceguard.Granted, onceguard.T3)
	for v := onceguard.ResolveHappened; v <= onceguard.ResolveNote; v++ {
		e.resolve(person(verdict(c, asked, v)), onceguard.Stale, onceguard.NoTransition)
	}
	e.settle(says(second, 2, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
	before := e.found(c.ID)
	for v := onceguard.ResolveHappened; v <= onceguard.ResolveNote; v++ {
		e.resolve(person(verdict(c, asked, v)), onceguard.Stale, onceguard.NoTransition)
		e.resolve(person(verdict(c, 3, v)), onceguard.Stale, onceguard.NoTransition)
	}
	e.same(before, e.found(c.ID))
	e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceReleased, onceguard.EvidenceParked)
}

func resolveOnlyUncertain(e *env) {
	claimed, released := e.granted(), e.granted()
	e.release(released, 1)
	for _, c := range []onceguard.Claim{claimed, released} {
		before := e.found(c.ID)
		for v := onceguard.ResolveHappened; v <= onceguard.ResolveNote; v++ {
			if v != onceguard.ResolvePark {
				e.resolve(person(verdict(c, 1, v)), onceguard.Stale, onceguard.NoTransition)
			}
		}
		e.same(before, e.found(c.ID))
	}
	gone := e.request()
	e.resolve(verdict(gone, 1, onceguard.ResolveHappened), onceguard.Missing, onceguard.NoTransition)
	e.missing(gone.ID)
}

func resolveNote(e *env) {
	c := e.parked()
	before := e.found(c.ID)
	for range 2 {
		n := verdict(c, 1, onceguard.ResolveNote)
		n.Reason = "not seen"
		e.resolve(n, onceguard.Parked, onceguard.NoTransition)
	}
	e.same(before, e.found(c.ID))
	list := e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceLookup)
	if !strings.Contains(list[1].Detail, "not seen") || list[1].By != "reconciler" {
		e.Errorf("kept %q by %q", list[1].Detail, list[1].By)
	}
}

func resolveAgain(e *env) {
	for v := onceguard.ResolveHappened; v <= onceguard.ResolveRunAgain; v++ {
		for _, optIn := range []bool{false, true} {
			c := e.request()
			c.RunAfterNeverWill = optIn
			e.claim(c, onceguard.Granted, onceguard.T1)
			e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
			n := person(verdict(c, 1, v))
			e.resolve(n, onceguard.Applied, onceguard.T13)
			before, evidence := e.found(c.ID), len(e.kinds(c.ID))
			e.resolve(n, onceguard.Applied, onceguard.NoTransition)
			e.same(before, e.found(c.ID))
			if got := len(e.kinds(c.ID)); got != evidence {
				e.Errorf("%s again left %d pieces of evidence, want %d", v, got, evidence)
			}
		}
	}
}

func resolveLate(e *env) {
	c := e.parked()
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7) // while the lookup was on its way
	before := e.found(c.ID)
	e.resolve(verdict(c, 1, onceguard.ResolveRefused), onceguard.Stale, onceguard.T14)
	e.resolve(verdict(c, 1, onceguard.ResolveHappened), onceguard.Stale, onceguard.T14) // another result
	agreeing := verdict(c, 1, onceguard.ResolveHappened)
	agreeing.Result = before.Result
	e.resolve(agreeing, onceguard.Stale, onceguard.NoTransition)
	e.same(before, e.found(c.ID))
	e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceConflict, onceguard.EvidenceConflict)

	c = e.parked()
	e.resolve(verdict(c, 1, onceguard.ResolveRefused), onceguard.Applied, onceguard.T12)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T14) // the owner comes late
	e.state(c.ID, onceguard.Failed, 1)
	e.evidence(c.ID, onceguard.EvidenceParked, onceguard.EvidenceResolution, onceguard.EvidenceConflict)
}

func resolvePark(e *env) {
	dead := func(c onceguard.Claim, attempt int64) onceguard.Resolution {
		return onceguard.Resolution{ID: c.ID, Attempt: attempt, Verdict: onceguard.ResolvePark, Who: onceguard.BySweeper, Reason: "the owner's process is dead"}
	}
	c := e.granted()
	e.resolve(dead(c, 2), onceguard.Stale, onceguard.NoTransition)
	e.resolve(dead(c, 1), onceguard.Parked, onceguard.T5)
	e.state(c.ID, onceguard.Uncertain, 1)
	e.resolve(dead(c, 1), onceguard.Applied, onceguard.NoTransition)
	e.evidence(c.ID, onceguard.EvidenceParked)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7) // it was not so dead
	e.resolve(dead(c, 1), onceguard.Stale, onceguard.NoTransition)
	for _, p := range repeating {
		c := e.granted(under(p))
		e.resolve(dead(c, 1), onceguard.Stale, onceguard.NoTransition)
		e.state(c.ID, onceguard.Claimed, 1)
	}
}

func resolveInvalid(e *env) {
	c := e.parked()
	before := e.found(c.ID)
	nameless, reasonless := person(verdict(c, 1, onceguard.ResolveHappened)), person(verdict(c, 1, onceguard.ResolveHappened))
	nameless.By, reasonless.Reason = "", ""
	observer := verdict(c, 1, onceguard.ResolveHappened)
	observer.Who = onceguard.BySweeper
	owner := verdict(c, 1, onceguard.ResolveHappened)
	owner.Who = onceguard.ByOwner
	for name, n := range map[string]onceguard.Resolution{
		"nameless": nameless, "without a reason": reasonless, "observer": observer, "owner": owner,
		"machine orders a run": verdict(c, 1, onceguard.ResolveRunAgain),
		"no verdict":           verdict(c, 1, 0),
		"verdict of another":   verdict(c, 1, 99),
	} {
		if a, err := e.Store.Resolve(e.ctx, n); err == nil {
			e.Errorf("%s: answered %s", name, a.Outcome)
		} else {
			e.failed(err)
		}
	}
	e.same(before, e.found(c.ID))
}

func resolveRace(e *env) {
	const deciders = 8
	for range 5 {
		c := e.parked()
		outcomes := make([]onceguard.Outcome, deciders)
		var all sync.WaitGroup
		for i := range deciders {
			all.Go(func() {
				n := person(verdict(c, 1, onceguard.ResolveHappened+onceguard.ResolveVerdict(i%2)))
				n.By += string(rune('a' + i))
				a, err := e.Store.Resolve(e.ctx, n)
				if err != nil {
					e.Errorf("decider %d: %v", i, err)
				}
				outcomes[i] = a.Outcome
			})
		}
		all.Wait()
		won := 0
		for _, o := range outcomes {
			if o == onceguard.Applied {
				won++
			} else if o != onceguard.Stale {
				e.Errorf("a decider was answered %s", o)
			}
		}
		if won != 1 {
			e.Errorf("%d decisions won: %v", won, outcomes)
		}
	}
}

func resolveOwnerRace(e *env) {
	for range 10 {
		c := e.parked()
		var owner, lookup onceguard.Answer
		var all sync.WaitGroup
		all.Go(func() {
			list, err := e.Store.Settle(e.ctx, []onceguard.Settlement{succeeds(c, 1)})
			if err != nil || len(list) != 1 {
				e.Errorf("settle: %v", err)
				return
			}
			owner = list[0]
		})
		all.Go(func() {
			a, err := e.Store.Resolve(e.ctx, verdict(c, 1, onceguard.ResolveRefused))
			if err != nil {
				e.Errorf("resolve: %v", err)
			}
			lookup = a
		})
		all.Wait()
		r := e.found(c.ID)
		switch {
		case r.State == onceguard.Succeeded && owner.Transition == onceguard.T7 && lookup.Transition == onceguard.T14:
		case r.State == onceguard.Failed && owner.Transition == onceguard.T14 && lookup.Transition == onceguard.T12:
		default:
			e.Errorf("%s; owner %s by %s, lookup %s by %s", r.State, owner.Outcome, owner.Transition, lookup.Outcome, lookup.Transition)
		}
		e.evidence(c.ID, e.kinds(c.ID)...)
		if kinds := e.kinds(c.ID); kinds[len(kinds)-1] != onceguard.EvidenceConflict {
			e.Errorf("the loser left %v", kinds)
		}
	}
}
