package storesuite

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

var claimCases = []testCase{
	{"first claim is granted and recorded", firstClaim},
	{"claimed by another is held", claimHeld},
	{"own claim again is granted and extends the lease", ownClaimAgain},
	{"own claim again after its lease is still one's own", ownClaimAgainLate},
	{"final is replayed", claimFinal},
	{"mismatch reveals nothing", claimMismatch},
	{"older fingerprint key matches", claimOlderKey},
	{"unknown fingerprint key is named", claimUnknownKey},
	{"key older than the memory is never granted", claimTooOld},
	{"members succeed and fail singly, in order", claimSlice},
	{"one request twice in a call is refused", claimTwiceInCall},
	{"no members, no answers", claimNothing},
}

func firstClaim(e *env) {
	c := e.request(under(remembers), withInput([]byte("in\x00put")))
	c.RunAfterNeverWill = true
	a := e.claim(c, onceguard.Granted, onceguard.T1)
	r := e.found(c.ID)
	e.same(a.Record, r)
	want := onceguard.Record{
		ID: c.ID, Scope: c.Scope, Action: c.Action, Key: c.Key, Fingerprint: c.Fingerprints[0], Policy: c.Policy,
		State: onceguard.Claimed, Attempt: 1, Owner: c.Owner.Hash(), Process: c.Process, RunAfterNeverWill: true,
		CreatedAt: a.Now, KeyedAt: a.Now, ClaimedAt: a.Now, LeaseUntil: a.Now.Add(c.Lease), Since: a.Now,
		ResultRetention: c.ResultRetention, IdentityRetention: c.IdentityRetention, Input: c.Input,
	}
	e.same(want, r)
	e.evidence(c.ID)
}

func claimHeld(e *env) {
	c := e.granted()
	before := e.found(c.ID)
	a := e.claim(again(c), onceguard.Held, onceguard.NoTransition)
	if a.Mine {
		e.Error("another's claim is answered as mine")
	}
	if left := a.Record.LeaseLeft(a.Now); left <= 0 || left > long {
		e.Errorf("lease left is %s of %s", left, long)
	}
	e.same(before, e.found(c.ID))
}

// T2 must write: after an unclear commit only a later clean one counts.
func ownClaimAgain(e *env) {
	c := e.granted(leased(brief))
	c.Lease = long
	a := e.claim(c, onceguard.Granted, onceguard.T2)
	if !a.Mine || a.Record.Attempt != 1 {
		e.Errorf("mine %v, attempt %d; want one's own first attempt", a.Mine, a.Record.Attempt)
	}
	e.lapse()
	e.claim(again(c), onceguard.Held, onceguard.NoTransition)
	e.evidence(c.ID)
}

func ownClaimAgainLate(e *env) {
	for _, p := range []onceguard.Policy{atMostOnce, remembers, rerun} {
		c := e.granted(under(p), leased(brief))
		e.lapse()
		a := e.claim(c, onceguard.Granted, onceguard.T2)
		if a.Record.Attempt != 1 || a.Record.UnknownAttempt {
			e.Errorf("%s: attempt %d, unknown %v; one's own lost answer is not a lapsed claim", p.Kind, a.Record.Attempt, a.Record.UnknownAttempt)
		}
		e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	}
}

func claimFinal(e *env) {
	for verb, state := range map[onceguard.Verb]onceguard.State{onceguard.SettleSucceeded: onceguard.Succeeded, onceguard.SettleFailed: onceguard.Failed} {
		c := e.granted()
		done := e.settle(says(c, 1, verb, "body"), onceguard.Settled, map[onceguard.State]onceguard.Transition{onceguard.Succeeded: onceguard.T7, onceguard.Failed: onceguard.T8}[state])
		a := e.claim(again(c), onceguard.Settled, onceguard.NoTransition)
		if a.Mine {
			e.Error("a replay is answered as mine")
		}
		e.same(done.Record, a.Record)
		if a := e.claim(c, onceguard.Settled, onceguard.NoTransition); a.Record.State != state {
			e.Errorf("own claim again after the end: %s, want %s", a.Record.State, state)
		}
		e.state(c.ID, state, 1)
	}
}

func claimMismatch(e *env) {
	c := e.granted(withInput([]byte("secret")))
	other := again(c)
	other.Fingerprints = []onceguard.Fingerprint{print("other input")}
	reveal := func(when string) {
		e.Helper()
		before := e.found(c.ID)
		a := e.claim(other, onceguard.Mismatched, onceguard.NoTransition)
		if diff := cmp.Diff(onceguard.Record{}, a.Record); diff != "" {
			e.Errorf("%s: a mismatch reveals something (-nothing +got):\n%s", when, diff)
		}
		e.same(before, e.found(c.ID))
	}
	reveal("claimed")
	e.settle(says(c, 1, onceguard.SettleUnknown, "line lost"), onceguard.Parked, onceguard.T9)
	reveal("uncertain")
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	reveal("succeeded")
	own := c
	own.Fingerprints = other.Fingerprints
	e.claim(own, onceguard.Mismatched, onceguard.NoTransition)
}

func claimOlderKey(e *env) {
	c := e.granted()
	c2 := again(c)
	newer := print("input")
	newer.KeyID = "k2"
	c2.Fingerprints = []onceguard.Fingerprint{newer, c.Fingerprints[0]}
	e.claim(c2, onceguard.Held, onceguard.NoTransition)
	if got := e.found(c.ID).Fingerprint; got != c.Fingerprints[0] {
		e.Errorf("the row's fingerprint became %s", got)
	}
}

func claimUnknownKey(e *env) {
	c := e.granted()
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	c2 := again(c)
	c2.Fingerprints = []onceguard.Fingerprint{{Version: 1, KeyID: "k2", Sum: c.Fingerprints[0].Sum}}
	a := e.claim(c2, onceguard.KeyUnknown, onceguard.NoTransition)
	want := onceguard.Record{ID: c.ID, Fingerprint: e.found(c.ID).Fingerprint}
	if diff := cmp.Diff(want, a.Record); diff != "" {
		e.Errorf("the answer names the fingerprint and nothing else (-want +got):\n%s", diff)
	}
}

func claimTooOld(e *env) {
	c := e.request(retained(time.Hour, 24*time.Hour))
	c.IssuedAt = e.now().Add(-25 * time.Hour)
	e.claim(c, onceguard.TooOld, onceguard.NoTransition)
	e.missing(c.ID)

	forever := e.request(retained(time.Hour, onceguard.Forever))
	forever.IssuedAt = e.now().Add(-20 * 365 * 24 * time.Hour)
	e.claim(forever, onceguard.Granted, onceguard.T1)

	young := e.request(retained(time.Hour, 24*time.Hour))
	young.IssuedAt = e.now().Add(-23 * time.Hour)
	e.claim(young, onceguard.Granted, onceguard.T1)
}

func claimSlice(e *env) {
	held, final := e.granted(), e.granted()
	e.settle(succeeds(final, 1), onceguard.Settled, onceguard.T7)
	other := again(held)
	wrong := e.granted()
	wrong2 := again(wrong)
	wrong2.Fingerprints = []onceguard.Fingerprint{print("other")}
	fresh1, fresh2 := e.request(), e.request()
	list, err := e.Store.Claim(e.ctx, []onceguard.Claim{fresh1, other, wrong2, again(final), fresh2})
	e.must(err)
	var got []onceguard.Outcome
	for _, a := range list {
		got = append(got, a.Outcome)
	}
	want := []onceguard.Outcome{onceguard.Granted, onceguard.Held, onceguard.Mismatched, onceguard.Settled, onceguard.Granted}
	if diff := cmp.Diff(want, got); diff != "" {
		e.Fatalf("outcomes differ (-want +got):\n%s", diff)
	}
	if list[0].Record.ID != fresh1.ID || list[4].Record.ID != fresh2.ID {
		e.Error("answers are not in the order of the questions")
	}
}

func claimTwiceInCall(e *env) {
	c := e.request()
	_, err := e.Store.Claim(e.ctx, []onceguard.Claim{e.request(), c, again(c)})
	e.failed(err)
	e.missing(c.ID)
	g := e.granted()
	_, err = e.Store.Settle(e.ctx, []onceguard.Settlement{succeeds(g, 1), says(g, 1, onceguard.SettleReleased, "")})
	e.failed(err)
	_, err = e.Store.Renew(e.ctx, []onceguard.Renewal{{ID: g.ID, Attempt: 1, Owner: g.Owner}, {ID: g.ID, Attempt: 1, Owner: g.Owner}})
	e.failed(err)
	e.state(g.ID, onceguard.Claimed, 1)
}

func claimNothing(e *env) {
	for name, call := range map[string]func() ([]onceguard.Answer, error){
		"claim":  func() ([]onceguard.Answer, error) { return e.Store.Claim(e.ctx, nil) },
		"renew":  func() ([]onceguard.Answer, error) { return e.Store.Renew(e.ctx, nil) },
		"settle": func() ([]onceguard.Answer, error) { return e.Store.Settle(e.ctx, nil) },
		"get":    func() ([]onceguard.Answer, error) { return e.Store.Get(e.ctx, nil) },
		"import": func() ([]onceguard.Answer, error) { return e.Store.Import(e.ctx, nil) },
	} {
		if list, err := call(); err != nil || len(list) != 0 {
			e.Errorf("%s: got %d answers and %v", name, len(list), err)
		}
	}
}
