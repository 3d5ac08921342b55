package storesuite

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/onceguard/onceguard"
)

var settleCases = []testCase{
	{"success is stored whole", settleSuccess},
	{"refusal is stored whole", settleRefusal},
	{"an outcome without a body says why", settleGap},
	{"the same settlement again changes nothing", settleAgain},
	{"success after the lease and after parking", settleLate},
	{"refusal after parking", settleLateRefusal},
	{"superseded attempt is fenced, and what it learned is kept", settleSuperseded},
	{"another token or attempt is fenced", settleFenced},
	{"a request that is not there", settleMissing},
	{"refusal after an unknown attempt is final only if remembered", settleRefusalUnknown},
	{"unknown parks at-most-once", settleUnknown},
	{"unknown leaves safe-retry and rerun to the next claim", settleUnknownRepeating},
	{"unknown parks at the attempt limit and past the horizon", settleUnknownLimit},
	{"release may be said again, and after parking", settleRelease},
	{"success after a release is fenced and kept", settleAfterRelease},
	{"late and different is evidence, once", settleConflict},
	{"a verb of another version counts as unknown", settleOtherVerb},
	{"a malformed reason never loses an outcome", settleReason},
	{"members settle singly, in order", settleSlice},
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

func settleGap(e *env) {
	for gap := onceguard.BodyTooLarge; gap <= onceguard.BodyDiskFull; gap++ {
		c := e.granted()
		s := succeeds(c, 1)
		s.Result.Body, s.Result.Missing = nil, gap
		e.settle(s, onceguard.Settled, onceguard.T7)
		r := e.state(c.ID, onceguard.Succeeded, 1)
		if r.Result.Missing != gap || r.Result.Digest != s.Result.Digest || len(r.Result.Body) != 0 {
			e.Errorf("stored %+v, want the gap %s", r.Result, gap)
		}
		e.settle(succeeds(c, 1), onceguard.Settled, onceguard.NoTransition)
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
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7) // nobody looked meanwhile
	c = e.granted(leased(brief))
	e.lapse()
	e.claim(again(c), onceguard.Parked, onceguard.T5)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.state(c.ID, onceguard.Succeeded, 1)
	e.evidence(c.ID, onceguard.EvidenceParked)
}

func settleLateRefusal(e *env) {
	c := e.granted(leased(brief))
	e.lapse()
	e.claim(again(c), onceguard.Parked, onceguard.T5)
	e.settle(says(c, 1, onceguard.SettleFailed, "declined"), onceguard.Settled, onceguard.T8)
	e.state(c.ID, onceguard.Failed, 1)
}

func settleSuperseded(e *env) {
	first := e.granted(under(rerun), leased(brief))
	e.lapse()
	second := again(first, leased(long))
	e.claim(second, onceguard.Granted, onceguard.T4)
	if a := e.settle(succeeds(first, 1), onceguard.Fenced, onceguard.NoTransition); a.Mine {
		e.Error("a superseded attempt is answered as the owner")
	}
	e.settle(says(first, 1, onceguard.SettleFailed, "declined"), onceguard.Fenced, onceguard.NoTransition)
	e.settle(says(first, 1, onceguard.SettleUnknown, "?"), onceguard.Fenced, onceguard.NoTransition)
	e.settle(says(first, 1, onceguard.SettleReleased, "?"), onceguard.Fenced, onceguard.NoTransition)
	e.settle(succeeds(first, 1), onceguard.Fenced, onceguard.NoTransition)
	e.state(first.ID, onceguard.Claimed, 2)
	list := e.evidence(first.ID, onceguard.EvidenceTakeover, onceguard.EvidenceLate, onceguard.EvidenceLate)
	if list[1].Attempt != 1 || string(list[1].Body) != string(succeeds(first, 1).Result.Body) {
		e.Errorf("kept of attempt %d: %q", list[1].Attempt, list[1].Body)
	}
	e.settle(succeeds(second, 2), onceguard.Settled, onceguard.T7)
}

func settleFenced(e *env) {
	c := e.granted()
	stranger := again(c)
	for verb := onceguard.SettleSucceeded; verb <= onceguard.SettleReleased; verb++ {
		e.settle(says(stranger, 1, verb, "x"), onceguard.Fenced, onceguard.NoTransition)
		e.settle(says(c, 2, verb, "x"), onceguard.Fenced, onceguard.NoTransition)
		e.settle(says(c, 0, verb, "x"), onceguard.Fenced, onceguard.NoTransition)
	}
	e.state(c.ID, onceguard.Claimed, 1)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
}

func settleMissing(e *env) {
	c := e.request()
	e.settle(succeeds(c, 1), onceguard.Missing, onceguard.NoTransition)
	e.missing(c.ID)
}

func settleRefusalUnknown(e *env) {
	for _, p := range []onceguard.Policy{forgets, rerun} {
		c := e.lost(under(p))
		r := e.settle(says(c, 2, onceguard.SettleFailed, "declined"), onceguard.Parked, onceguard.T8).Record
		if r.State != onceguard.Uncertain || !r.UnknownAttempt {
			e.Errorf("%s: %s, unknown %v: the first attempt may still be on its way", p.Kind, r.State, r.UnknownAttempt)
		}
		list := e.evidence(c.ID, onceguard.EvidenceTakeover, onceguard.EvidenceRefusal)
		if string(list[1].Body) != "declined" {
			e.Errorf("the refusal kept is %q", list[1].Body)
		}
		e.settle(says(c, 2, onceguard.SettleFailed, "declined"), onceguard.Parked, onceguard.T8)
		e.evidence(c.ID, onceguard.EvidenceTakeover, onceguard.EvidenceRefusal)
	}
	c := e.lost(under(remembers))
	e.settle(says(c, 2, onceguard.SettleFailed, "declined"), onceguard.Settled, onceguard.T8)
	e.state(c.ID, onceguard.Failed, 2)
}

func settleUnknown(e *env) {
	c := e.granted()
	r := e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9).Record
	if r.State != onceguard.Uncertain || r.Reason != "because timeout" || !r.LeaseUntil.IsZero() {
		e.Errorf("%s, reason %q, lease until %s", r.State, r.Reason, r.LeaseUntil)
	}
	before := e.found(c.ID)
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.NoTransition)
	e.same(before, e.found(c.ID))
	e.evidence(c.ID, onceguard.EvidenceParked)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
}

func settleUnknownRepeating(e *env) {
	for _, p := range repeating {
		c := e.granted(under(p))
		r := e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Applied, onceguard.T9b).Record
		if r.State != onceguard.Claimed || !r.UnknownAttempt || r.Attempt != 1 {
			e.Errorf("%s: %s, unknown %v, attempt %d", p.Kind, r.State, r.UnknownAttempt, r.Attempt)
		}
		e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Applied, onceguard.T9b)
		e.claim(again(c), onceguard.Granted, onceguard.T4)
		e.state(c.ID, onceguard.Claimed, 2)
	}
	c := e.granted(under(rerun))
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Applied, onceguard.T9b)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7) // however late
}

func settleUnknownLimit(e *env) {
	p := rerun
	p.MaxAttempts = 1
	c := e.granted(under(p))
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
	c = e.granted(under(onceguard.SafeRetry(brief, onceguard.RefusalsRemembered)))
	e.lapse()
	e.settle(says(c, 1, onceguard.SettleUnknown, "timeout"), onceguard.Parked, onceguard.T9)
}

func settleRelease(e *env) {
	c := e.granted()
	e.release(c, 1)
	r := e.state(c.ID, onceguard.Released, 1)
	if r.Reason != "because no connection" || !r.LeaseUntil.IsZero() {
		e.Errorf("reason %q, lease until %s", r.Reason, r.LeaseUntil)
	}
	e.settle(says(c, 1, onceguard.SettleReleased, "no connection"), onceguard.Applied, onceguard.NoTransition)
	e.same(r, e.found(c.ID))

	c = e.granted(leased(brief))
	e.lapse()
	e.claim(again(c), onceguard.Parked, onceguard.T5)
	e.release(c, 1)
	e.claim(again(c), onceguard.Granted, onceguard.T3)
	e.settle(says(c, 1, onceguard.SettleReleased, "no connection"), onceguard.Fenced, onceguard.NoTransition)
	e.state(c.ID, onceguard.Claimed, 2)
}

func settleAfterRelease(e *env) {
	c := e.granted()
	e.release(c, 1)
	e.settle(succeeds(c, 1), onceguard.Fenced, onceguard.NoTransition)
	e.state(c.ID, onceguard.Released, 1)
	e.evidence(c.ID, onceguard.EvidenceReleased, onceguard.EvidenceLate)
}

func settleConflict(e *env) {
	c := e.granted()
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	before := e.found(c.ID)
	for range 2 { // sent again, it is kept once
		e.settle(says(c, 1, onceguard.SettleSucceeded, "other"), onceguard.Settled, onceguard.T14)
	}
	e.settle(says(c, 1, onceguard.SettleFailed, "declined"), onceguard.Settled, onceguard.T14)
	e.settle(says(c, 1, onceguard.SettleUnknown, "?"), onceguard.Settled, onceguard.NoTransition)
	list := e.evidence(c.ID, onceguard.EvidenceConflict, onceguard.EvidenceConflict)
	if string(list[0].Body) != "other" || string(list[1].Body) != "declined" {
		e.Errorf("kept %q and %q", list[0].Body, list[1].Body)
	}
	e.same(before, e.found(c.ID))

	c = e.granted()
	e.settle(says(c, 1, onceguard.SettleFailed, "declined"), onceguard.Settled, onceguard.T8)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T14)
	e.state(c.ID, onceguard.Failed, 1)
	e.evidence(c.ID, onceguard.EvidenceConflict)
}

func settleOtherVerb(e *env) {
	for _, verb := range []onceguard.Verb{0, 99} {
		c := e.granted()
		e.settle(onceguard.Settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: verb}, onceguard.Parked, onceguard.T9)
		e.state(c.ID, onceguard.Uncertain, 1)
	}
}

func settleReason(e *env) {
	for name, reason := range map[string]string{
		"NUL":           "bad\x00reason",
		"invalid UTF-8": "bad\xff\xfereason",
		"quotes":        `'); DROP TABLE receipts; --"` + "`\\",
		"right to left": "\u202Ereversed\u202C \u05D0\u05D1",
		"long":          strings.Repeat("€", onceguard.MaxReason),
		"line ends":     "one\r\ntwo\u2028three",
	} {
		c := e.granted()
		s := says(c, 1, onceguard.SettleFailed, "x")
		s.Reason = reason
		e.settle(s, onceguard.Settled, onceguard.T8)
		got := e.state(c.ID, onceguard.Failed, 1).Reason
		if !utf8.ValidString(got) || strings.Contains(got, "\x00") || len(got) > onceguard.MaxReason || len(got) < len(reason)/4 {
			e.Errorf("%s: stored %q", name, got)
		}
		if utf8.ValidString(reason) && !strings.Contains(reason, "\x00") && !strings.HasPrefix(reason, got) {
			e.Errorf("%s: stored %q of %q", name, got, reason)
		}
		c = e.granted()
		s = says(c, 1, onceguard.SettleUnknown, "x")
		s.Reason = reason
		e.settle(s, onceguard.Parked, onceguard.T9)
		e.evidence(c.ID, onceguard.EvidenceParked)
	}
}

func settleSlice(e *env) {
	ok, refused, released, held := e.granted(), e.granted(), e.granted(), e.granted()
	gone := e.request()
	list, err := e.Store.Settle(e.ctx, []onceguard.Settlement{
		succeeds(ok, 1),
		succeeds(gone, 1),
		says(refused, 1, onceguard.SettleFailed, "no"),
		says(again(held), 1, onceguard.SettleReleased, "a stranger's"),
		says(released, 1, onceguard.SettleReleased, ""),
	})
	e.must(err)
	want := []onceguard.Outcome{onceguard.Settled, onceguard.Missing, onceguard.Settled, onceguard.Fenced, onceguard.Applied}
	for i, o := range want {
		if list[i].Err != nil || list[i].Outcome != o {
			e.Errorf("member %d: %s, %v; want %s", i, list[i].Outcome, list[i].Err, o)
		}
	}
	if got := e.state(ok.ID, onceguard.Succeeded, 1); !bytes.Equal(got.Result.Body, succeeds(ok, 1).Result.Body) {
		e.Errorf("stored %q", got.Result.Body)
	}
	e.state(refused.ID, onceguard.Failed, 1)
	e.state(held.ID, onceguard.Claimed, 1)
	e.state(released.ID, onceguard.Released, 1)
}
