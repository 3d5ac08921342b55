package storesuite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onceguard/onceguard"
)

var durableCases = []testCase{
	{"what was answered survives a restart", restart},
	{"two handles see one memory", twoHandles},
	{"a megabyte of any bytes", bigBodies},
	{"strings from outside are only strings", hostile},
	{"a context that has ended", cancelled},
	{"a closed store", closed},
	{"the caller's bytes are copied", copies},
}

func restart(e *env) {
	if e.Reopen == nil {
		e.Skip("the store is not durable")
	}
	claimed, parked, final, released := e.granted(under(forgets), withInput([]byte("input"))), e.parked(), e.granted(), e.granted()
	e.settle(succeeds(final, 1), onceguard.Settled, onceguard.T7)
	e.release(released, 1)
	lapsed := e.lost(under(rerun))
	e.must(e.Store.AppendEvidence(e.ctx, onceguard.Evidence{ID: claimed.ID, Kind: onceguard.EvidenceLookup, Attempt: 1, Body: []byte("x")}))
	secrets, err := e.Store.Secrets(e.ctx, []onceguard.Secret{{Name: "test", Value: []byte("s")}})
	e.must(err)
	info := e.info()
	all := []onceguard.Claim{claimed, parked, final, released, lapsed}
	before := make([]onceguard.Record, len(all))
	evidence := make([][]onceguard.EvidenceKind, len(all))
	for i, c := range all {
		before[i], evidence[i] = e.found(c.ID), e.kinds(c.ID)
	}
	var row onceguard.Claim
	if _, ok := e.Store.(onceguard.Transactor); ok && e.WriteRow != nil {
		row = e.transactional()
		e.transact(row, e.pays(row), onceguard.Settled, onceguard.T11)
	}

	e = e.on(e.Reopen())
	for i, c := range all {
		e.same(before[i], e.found(c.ID))
		e.evidence(c.ID, evidence[i]...)
	}
	after := e.info()
	if after.StoreID != info.StoreID || after.Epoch != info.Epoch || after.Frozen {
		e.Errorf("a restart is no failover: %+v, before %+v", after, info)
	}
	again2, err := e.Store.Secrets(e.ctx, []onceguard.Secret{{Name: "test", Value: []byte("another")}})
	e.must(err)
	if !cmp.Equal(secrets, again2, cmpopts.EquateApproxTime(time.Microsecond)) {
		e.Error("the secrets changed over a restart")
	}
	e.claim(claimed, onceguard.Granted, onceguard.T2)
	e.claim(again(claimed), onceguard.Held, onceguard.NoTransition)
	e.settle(succeeds(claimed, 1), onceguard.Settled, onceguard.T7)
	e.settle(succeeds(parked, 1), onceguard.Settled, onceguard.T7)
	e.claim(again(final), onceguard.Settled, onceguard.NoTransition)
	e.claim(released, onceguard.Fenced, onceguard.NoTransition)
	if row.Action != "" {
		e.state(row.ID, onceguard.Succeeded, 1)
		e.row(row, true)
	}
}

func twoHandles(e *env) {
	if e.Second == nil {
		e.Skip("the harness has no second handle")
	}
	other := e.on(e.Second())
	c := e.granted(leased(brief))
	other.lapse()
	other.claim(again(c), onceguard.Parked, onceguard.T5)
	e.state(c.ID, onceguard.Uncertain, 1)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	other.claim(again(c), onceguard.Settled, onceguard.NoTransition)
}

func bigBodies(e *env) {
	body := bytes.Repeat([]byte{0, 255, '\'', '\\', '"', 0x80, '\n', '%'}, 1<<17)
	c := e.granted(withInput(body))
	s := says(c, 1, onceguard.SettleSucceeded, string(body))
	e.settle(s, onceguard.Settled, onceguard.T7)
	r := e.claim(again(c), onceguard.Settled, onceguard.NoTransition).Record
	if !r.Result.Intact() || !bytes.Equal(r.Result.Body, body) || !bytes.Equal(r.Input, body) {
		e.Errorf("%d bytes of result and %d of input came back, %d went in", len(r.Result.Body), len(r.Input), len(body))
	}
	for name, body := range map[string][]byte{"empty": {}, "one NUL": {0}} {
		c := e.granted()
		e.settle(says(c, 1, onceguard.SettleSucceeded, string(body)), onceguard.Settled, onceguard.T7)
		if r := e.found(c.ID).Result; !r.Intact() || !bytes.Equal(r.Body, body) || r.Missing != onceguard.HasBody {
			e.Errorf("%s body came back as %+v", name, r)
		}
	}
}

func hostile(e *env) {
	for i, s := range []string{
		`'); DROP TABLE receipts; --`, `" OR "1"="1`, "`backquotes` $1 ? :name @x", `back\slash\' \x27`,
		"\u202Eright to left\u202C \u05E9\u05DC\u05D5\u05DD", "e\u0301 and \u00e9 are two", "percent % underscore _ star *",
		"line\r\nends\ttabs", "\u0001\u001b[31mcontrols\u007f", "\U0001F4B8 beyond the plane \U0010FFFF", strings.Repeat("k", 256),
	} {
		key := onceguard.RawKey(s + strings.Repeat("x", 511-len(s)))
		e.must(key.Err())
		c := e.request(inScope(s))
		c.Key = key.Encoded()
		id, err := onceguard.NewRequestID(c.Scope, c.Action, key)
		e.must(err)
		c.ID, c.Process = id, s
		e.claim(c, onceguard.Granted, onceguard.T1)
		n := says(c, 1, onceguard.SettleUnknown, "x")
		n.Reason = s
		e.settle(n, onceguard.Parked, onceguard.T9)
		p := person(verdict(c, 1, onceguard.ResolveHappened))
		p.By, p.Reason = s, s
		p.Result.Type = s
		e.resolve(p, onceguard.Applied, onceguard.T13)
		r := e.found(c.ID)
		if r.Scope != s || r.Key != c.Key || r.Process != s || r.Reason != s || r.SettledBy != "operator:"+s || r.Result.Type != s {
			e.Errorf("string %d came back changed: %+v", i, r)
		}
		got := e.list(onceguard.Filter{Scope: s, Key: c.Key})
		if len(got.Records) != 1 || got.Records[0].ID != c.ID {
			e.Errorf("string %d: the filter found %d records", i, len(got.Records))
		}
	}
}

// Under an ended context a call is either refused with nothing written, or
// done. It is never half done, and never silently not durable.
func cancelled(e *env) {
	ended, end := context.WithCancel(e.ctx)
	end()
	verify := func(name string, err error, written func() bool) {
		e.Helper()
		var se *onceguard.StoreError
		switch {
		case err == nil && !written():
			e.Errorf("%s: answered, but not written", name)
		case err != nil && !errors.As(err, &se):
			e.Errorf("%s: error is %T, want *StoreError: %v", name, err, err)
		case err != nil && se.Clean && written():
			e.Errorf("%s: says that nothing was written, and it was: %v", name, err)
		}
	}
	first := func(list []onceguard.Answer, err error) error {
		if err == nil && len(list) == 1 {
			return list[0].Err
		}
		return err
	}
	c := e.request()
	verify("claim", first(e.Store.Claim(ended, []onceguard.Claim{c})), func() bool {
		list, err := e.Store.Get(e.ctx, []onceguard.RequestID{c.ID})
		return e.only(list, err).Outcome == onceguard.Found
	})
	c = e.granted()
	verify("settle", first(e.Store.Settle(ended, []onceguard.Settlement{succeeds(c, 1)})), func() bool { return e.found(c.ID).State == onceguard.Succeeded })
	c = e.granted(leased(brief))
	lease := e.found(c.ID).LeaseUntil
	verify("renew", first(e.Store.Renew(ended, []onceguard.Renewal{renewal(c, 1, long)})), func() bool { return e.found(c.ID).LeaseUntil.After(lease) })
	c = e.parked()
	_, err := e.Store.Resolve(ended, verdict(c, 1, onceguard.ResolveRefused))
	verify("resolve", err, func() bool { return e.found(c.ID).State == onceguard.Failed })
	c = e.granted()
	_, err = e.Store.Checkpoint(ended, onceguard.Checkpoint{ID: c.ID, Attempt: 1, Owner: c.Owner, Body: []byte("x")})
	verify("checkpoint", err, func() bool { return len(e.kinds(c.ID)) == 1 })
	c = e.granted()
	err = e.Store.AppendEvidence(ended, onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: 1})
	verify("evidence", err, func() bool { return len(e.kinds(c.ID)) == 1 })
	r := e.past("cancelled")
	verify("import", first(e.Store.Import(ended, []onceguard.Record{r})), func() bool {
		list, err := e.Store.Get(e.ctx, []onceguard.RequestID{r.ID})
		return e.only(list, err).Outcome == onceguard.Found
	})
	c = e.granted(leased(brief))
	e.lapse()
	_, err = e.Store.Sweep(ended, 100)
	verify("sweep", err, func() bool { return e.found(c.ID).State == onceguard.Uncertain })
	e.granted() // and the store still works
}

func closed(e *env) {
	e.must(e.Store.Close())
	for name, call := range map[string]func() error{
		"claim": func() error { _, err := e.Store.Claim(e.ctx, []onceguard.Claim{e.request()}); return err },
		"settle": func() error {
			_, err := e.Store.Settle(e.ctx, []onceguard.Settlement{succeeds(e.request(), 1)})
			return err
		},
		"get":   func() error { _, err := e.Store.Get(e.ctx, []onceguard.RequestID{{1}}); return err },
		"list":  func() error { _, err := e.Store.List(e.ctx, onceguard.Filter{}); return err },
		"sweep": func() error { _, err := e.Store.Sweep(e.ctx, 1); return err },
	} {
		var se *onceguard.StoreError
		if err := call(); !errors.As(err, &se) || !se.Clean {
			e.Errorf("%s: error is %T: %v; want a clean *StoreError", name, err, err)
		}
	}
	_ = e.Store.Close() // twice is no panic
}

func copies(e *env) {
	input, result, note := []byte("input"), []byte("result"), []byte("note")
	c := e.granted(withInput(input))
	s := succeeds(c, 1)
	s.Result = onceguard.NewResult("refund/1", result)
	e.settle(s, onceguard.Settled, onceguard.T7)
	e.must(e.Store.AppendEvidence(e.ctx, onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: 1, Body: note}))
	for range 2 {
		for _, b := range [][]byte{input, result, note} {
			b[0] = 'X'
		}
		r, list := e.found(c.ID), e.evidence(c.ID, onceguard.EvidenceLookup)
		if got := fmt.Sprintf("%s %s %s", r.Input, r.Result.Body, list[0].Body); got != "input result note" {
			e.Fatalf("a caller's change reached the store: %s", got)
		}
		input, result, note = r.Input, r.Result.Body, list[0].Body
	}
}
