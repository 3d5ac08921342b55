package storetest

import "github.com/onceguard/onceguard"

var settleCases = []testCase{
	{"success is stored whole", settleSuccess},
	{"refusal is stored whole", settleRefusal},
	{"the same settlement again changes nothing", settleAgain},
	{"success after the lease and after parking", settleLate},
}

func settleSuccess(e *env) {
	c := e.granted()
	s := succeeds(c, 1)
	a := e.settle(s, onceguard.Settled, onceguard.T7)
	if !a.Mine {
		e.Error("the owner's settlement is not answered as mine")
	}
	r := e.state(c.ID, onceguard.Succeeded, 1)
	e.same(a.Record, r)
	if r.SettledBy != "owner" || !r.Result.Intact() || string(r.Result.Body) != string(s.Result.Body) || r.Result.Type != s.Result.Type {
		e.Errorf("stored by %q: %+v", r.SettledBy, r.Result)
	}
	if !r.LeaseUntil.IsZero() {
		e.Errorf("a final record has a lease until %s", r.LeaseUntil)
	}
}

func settleRefusal(e *env) {
	c := e.granted()
	e.settle(says(c, 1, onceguard.SettleFailed, "card declined"), onceguard.Settled, onceguard.T8)
	r := e.state(c.ID, onceguard.Failed, 1)
	if r.Reason != "because card declined" || string(r.Result.Body) != "card declined" {
		e.Errorf("stored reason %q, body %q", r.Reason, r.Result.Body)
	}
}

func settleAgain(e *env) {
	c := e.granted()
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	before := e.found(c.ID)
	if a := e.settle(succeeds(c, 1), onceguard.Settled, onceguard.NoTransition); !a.Mine {
		e.Error("the owner's repeat is not answered as mine")
	}
	e.same(before, e.found(c.ID))
	e.evidence(c.ID)
}

func settleLate(e *env) {
	c := e.granted(leased(brief))
	e.lapse()
	e.claim(again(c), onceguard.Parked, onceguard.T5)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.state(c.ID, onceguard.Succeeded, 1)
	e.evidence(c.ID, onceguard.EvidenceParked)
}
