package storesuite

import (
	"time"

	"github.com/onceguard/onceguard"
)

var renewCases = []testCase{
	{"extends the lease and nothing else", renewExtends},
	{"never shortens a lease", renewLonger},
	{"works after the lease while nobody took it", renewLapsed},
	{"another token or attempt is fenced", renewFenced},
	{"never brings a claim back", renewResurrects},
}

func renewal(c onceguard.Claim, attempt int64, lease time.Duration) onceguard.Renewal {
	return onceguard.Renewal{ID: c.ID, Attempt: attempt, Owner: c.Owner, Lease: lease}
}

func renewExtends(e *env) {
	c := e.granted(leased(brief))
	before := e.found(c.ID)
	a := e.renew(renewal(c, 1, long), onceguard.Applied, onceguard.T6)
	if !a.Mine {
		e.Error("the owner's renewal is not answered as mine")
	}
	want := before
	want.LeaseUntil = a.Now.Add(long)
	e.same(want, e.found(c.ID))
	e.lapse()
	e.claim(again(c), onceguard.Held, onceguard.NoTransition)
}

func renewLonger(e *env) {
	c := e.granted(leased(long))
	before := e.found(c.ID)
	e.renew(renewal(c, 1, brief), onceguard.Applied, onceguard.T6)
	e.same(before, e.found(c.ID))
}

func renewLapsed(e *env) {
	c := e.granted(leased(brief))
	e.lapse()
	e.renew(renewal(c, 1, long), onceguard.Applied, onceguard.T6)
	e.claim(again(c), onceguard.Held, onceguard.NoTransition)
}

func renewFenced(e *env) {
	c := e.granted(leased(brief))
	before := e.found(c.ID)
	e.renew(renewal(again(c), 1, long), onceguard.Fenced, onceguard.NoTransition)
	e.renew(renewal(c, 2, long), onceguard.Fenced, onceguard.NoTransition)
	e.same(before, e.found(c.ID))
	e.renew(renewal(e.request(), 1, long), onceguard.Missing, onceguard.NoTransition)
}

func renewResurrects(e *env) {
	parked := e.granted(leased(brief))
	e.lapse()
	e.claim(again(parked), onceguard.Parked, onceguard.T5)
	released := e.granted()
	e.release(released, 1)
	final := e.granted()
	e.settle(succeeds(final, 1), onceguard.Settled, onceguard.T7)
	taken := e.granted(under(rerun), leased(brief))
	e.lapse()
	e.claim(again(taken, leased(brief)), onceguard.Granted, onceguard.T4)
	for _, c := range []onceguard.Claim{parked, released, final, taken} {
		before := e.found(c.ID)
		e.renew(renewal(c, 1, long), onceguard.Fenced, onceguard.NoTransition)
		e.same(before, e.found(c.ID))
	}
}
