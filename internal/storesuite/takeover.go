package storesuite

import (
	"time"

	"github.com/onceguard/onceguard"
)

var takeoverCases = []testCase{
	{"lapsed at-most-once claim is parked for good", parkForGood},
	{"lapsed safe-retry and rerun claims are taken over", takeOver},
	{"a running lease is not taken over", noEarlyTakeover},
	{"attempt limit parks", attemptLimit},
	{"default attempt limit parks", defaultAttemptLimit},
	{"horizon over parks", horizonOver},
	{"stricter declaration governs a takeover", stricterDeclared},
	{"stricter row governs a takeover", stricterRow},
	{"released is claimed as the next attempt", claimReleased},
	{"released token is refused", releasedToken},
	{"released without unknown attempt takes another input and policy", releasedOtherInput},
	{"released with unknown attempt keeps its input", releasedUnknownInput},
	{"released with unknown attempt and horizon over parks", releasedHorizonOver},
	{"released with unknown attempt parks under at-most-once", releasedStricter},
	{"released with unknown attempt is claimed within the horizon", releasedUnknown},
}

// repeating are the policies under which a lapsed claim is taken over.
var repeating = []onceguard.Policy{rerun, remembers, forgets}

// lost claims a request and loses its first attempt: the second is returned.
func (e *env) lost(options ...option) onceguard.Claim {
	e.Helper()
	c := e.granted(append(options, leased(brief))...)
	e.lapse()
	second := again(c, leased(long))
	e.claim(second, onceguard.Granted, onceguard.T4)
	return second
}

func parkForGood(e *env) {
	c := e.granted(leased(brief))
	e.lapse()
	a := e.claim(again(c), onceguard.Parked, onceguard.T5)
	if a.Record.State != onceguard.Uncertain || !a.Record.Since.Equal(a.Now) && a.Now.Sub(a.Record.Since) > time.Microsecond {
		e.Errorf("parked as %s since %s, now %s", a.Record.State, a.Record.Since, a.Now)
	}
	before := e.state(c.ID, onceguard.Uncertain, 1)
	for _, p := range []onceguard.Policy{atMostOnce, remembers, rerun} {
		e.claim(again(c, under(p)), onceguard.Parked, onceguard.NoTransition)
	}
	if a := e.claim(c, onceguard.Parked, onceguard.NoTransition); !a.Mine {
		e.Error("the parked owner's claim is not answered as mine")
	}
	e.same(before, e.found(c.ID))
	e.evidence(c.ID, onceguard.EvidenceParked)
}

func takeOver(e *env) {
	for _, p := range repeating {
		c := e.granted(under(p), leased(brief))
		first := e.found(c.ID)
		e.lapse()
		c2 := again(c, leased(long))
		r := e.claim(c2, onceguard.Granted, onceguard.T4).Record
		if r.Attempt != 2 || !r.UnknownAttempt || !r.Owner.Is(c2.Owner) || r.Process != c2.Process {
			e.Errorf("%s: attempt %d, unknown %v, process %s", p.Kind, r.Attempt, r.UnknownAttempt, r.Process)
		}
		if r.Generation != 0 || r.KeyedAt.Sub(first.KeyedAt).Abs() > time.Microsecond || r.CreatedAt.Sub(first.CreatedAt).Abs() > time.Microsecond {
			e.Errorf("%s: generation %d, keyed %s, created %s; first was %+v: a takeover sends the same downstream key", p.Kind, r.Generation, r.KeyedAt, r.CreatedAt, first)
		}
		e.claim(again(c), onceguard.Held, onceguard.NoTransition)
		e.claim(c, onceguard.Held, onceguard.NoTransition) // the first owner has lost it
		e.evidence(c.ID, onceguard.EvidenceTakeover)
	}
}

func noEarlyTakeover(e *env) {
	for _, p := range append([]onceguard.Policy{atMostOnce}, repeating...) {
		c := e.granted(under(p))
		e.claim(again(c), onceguard.Held, onceguard.NoTransition)
		e.state(c.ID, onceguard.Claimed, 1)
	}
}

func attemptLimit(e *env) {
	for _, p := range repeating {
		p.MaxAttempts = 2
		c := e.granted(under(p), leased(brief))
		e.lapse()
		e.claim(again(c), onceguard.Granted, onceguard.T4)
		e.lapse()
		r := e.claim(again(c), onceguard.Parked, onceguard.T5).Record
		if r.Attempt != 2 {
			e.Errorf("%s: parked at attempt %d", p.Kind, r.Attempt)
		}
	}
}

func defaultAttemptLimit(e *env) {
	c := e.granted(under(rerun), leased(brief))
	for range onceguard.DefaultMaxAttempts - 1 {
		e.lapse()
		e.claim(again(c), onceguard.Granted, onceguard.T4)
	}
	e.lapse()
	e.claim(again(c), onceguard.Parked, onceguard.T5)
	e.state(c.ID, onceguard.Uncertain, onceguard.DefaultMaxAttempts)
}

func horizonOver(e *env) {
	c := e.granted(under(onceguard.SafeRetry(brief, onceguard.RefusalsRemembered)), leased(brief))
	e.lapse()
	e.claim(again(c), onceguard.Parked, onceguard.T5)
}

func stricterDeclared(e *env) {
	c := e.granted(under(rerun), leased(brief))
	e.lapse()
	e.claim(again(c, under(atMostOnce)), onceguard.Parked, onceguard.T5)
	e.evidence(c.ID, onceguard.EvidencePolicy, onceguard.EvidenceParked)

	// A shorter horizon, fewer attempts and forgotten refusals are stricter too,
	// and the row goes by them from then on.
	c = e.granted(under(rerun), leased(brief))
	e.lapse()
	shorter := onceguard.SafeRetry(horizon/2, onceguard.RefusalsForgotten)
	shorter.MaxAttempts = 3
	r := e.claim(again(c, under(shorter)), onceguard.Granted, onceguard.T4).Record
	if r.Policy != shorter {
		e.Errorf("the row goes by %+v, want %+v", r.Policy, shorter)
	}
	c = e.granted(under(remembers), leased(brief))
	e.lapse()
	e.claim(again(c, under(onceguard.SafeRetry(brief, onceguard.RefusalsRemembered))), onceguard.Parked, onceguard.T5)
}

func stricterRow(e *env) {
	c := e.granted(under(atMostOnce), leased(brief))
	e.lapse()
	e.claim(again(c, under(rerun)), onceguard.Parked, onceguard.T5)

	c = e.granted(under(onceguard.SafeRetry(brief, onceguard.RefusalsRemembered)), leased(brief))
	e.lapse()
	e.claim(again(c, under(rerun)), onceguard.Parked, onceguard.T5)
}

func (e *env) release(c onceguard.Claim, attempt int64) {
	e.Helper()
	e.settle(says(c, attempt, onceguard.SettleReleased, "no connection"), onceguard.Applied, onceguard.T10)
}

func claimReleased(e *env) {
	c := e.granted(under(remembers))
	e.release(c, 1)
	c2 := again(c)
	a := e.claim(c2, onceguard.Granted, onceguard.T3)
	r := a.Record
	if r.Attempt != 2 || r.UnknownAttempt || !r.Owner.Is(c2.Owner) || r.Generation != 0 {
		e.Errorf("attempt %d, unknown %v, generation %d", r.Attempt, r.UnknownAttempt, r.Generation)
	}
	if a.Now.Sub(r.KeyedAt).Abs() > time.Microsecond {
		e.Errorf("keyed at %s, want %s: nothing was sent under the key before", r.KeyedAt, a.Now)
	}
	e.same(r, e.found(c.ID))
}

func releasedToken(e *env) {
	for _, p := range append([]onceguard.Policy{atMostOnce}, repeating...) {
		c := e.granted(under(p))
		e.release(c, 1)
		e.claim(c, onceguard.Fenced, onceguard.NoTransition)
		e.state(c.ID, onceguard.Released, 1)
	}
}

func releasedOtherInput(e *env) {
	c := e.granted(under(rerun), withInput([]byte("old")))
	e.release(c, 1)
	c2 := again(c, under(atMostOnce), withInput([]byte("new")))
	c2.Fingerprints = []onceguard.Fingerprint{print("new")}
	r := e.claim(c2, onceguard.Granted, onceguard.T3).Record
	if r.Fingerprint != c2.Fingerprints[0] || r.Policy != atMostOnce || string(r.Input) != "new" {
		e.Errorf("the row kept %s, %s, %q", r.Fingerprint, r.Policy.Kind, r.Input)
	}
	e.evidence(c.ID, onceguard.EvidenceReleased, onceguard.EvidenceFingerprint)
	e.claim(again(c), onceguard.Mismatched, onceguard.NoTransition)
}

func releasedUnknownInput(e *env) {
	c := e.lost(under(rerun))
	e.release(c, 2)
	other := again(c)
	other.Fingerprints = []onceguard.Fingerprint{print("new")}
	e.claim(other, onceguard.Mismatched, onceguard.NoTransition)
	e.state(c.ID, onceguard.Released, 2)
}

func releasedHorizonOver(e *env) {
	c := e.lost(under(remembers))
	e.release(c, 2)
	short := onceguard.SafeRetry(brief, onceguard.RefusalsRemembered)
	e.lapse()
	r := e.claim(again(c, under(short)), onceguard.Parked, onceguard.T3).Record
	if r.State != onceguard.Uncertain || r.Attempt != 2 {
		e.Errorf("parked as %s at attempt %d", r.State, r.Attempt)
	}
	e.same(r, e.found(c.ID))
}

func releasedStricter(e *env) {
	c := e.lost(under(remembers))
	e.release(c, 2)
	e.claim(again(c, under(atMostOnce)), onceguard.Parked, onceguard.T3)
	e.state(c.ID, onceguard.Uncertain, 2)
}

func releasedUnknown(e *env) {
	for _, p := range repeating {
		c := e.lost(under(p))
		keyed := e.found(c.ID).KeyedAt
		e.release(c, 2)
		r := e.claim(again(c), onceguard.Granted, onceguard.T3).Record
		if r.Attempt != 3 || !r.UnknownAttempt || r.KeyedAt.Sub(keyed).Abs() > time.Microsecond {
			e.Errorf("%s: attempt %d, unknown %v, keyed %s, first %s", p.Kind, r.Attempt, r.UnknownAttempt, r.KeyedAt, keyed)
		}
	}
}
