package storesuite

import (
	"time"

	"github.com/onceguard/onceguard"
)

var importCases = []testCase{
	{"a record of earlier work is replayed", importReplays},
	{"an existing record is never changed", importExisting},
	{"only final records", importFinal},
}

// past is the record of work done before adoption, made without an input.
func (e *env) past(key string) onceguard.Record {
	e.Helper()
	k := onceguard.KeyOf("order", key)
	id, err := onceguard.NewRequestID("default", "refund.create", k)
	e.must(err)
	at := time.Date(2020, 2, 3, 4, 5, 6, 7000, time.UTC)
	return onceguard.Record{
		ID: id, Scope: "default", Action: "refund.create", Key: k.Encoded(), State: onceguard.Succeeded, Attempt: 1,
		CreatedAt: at, KeyedAt: at, ClaimedAt: at, Since: at, SettledBy: "import:ada", Reason: "paid by the old system",
		Result:          onceguard.NewResult("refund/1", []byte(`{"old":true}`)),
		ResultRetention: onceguard.Forever, IdentityRetention: onceguard.Forever,
	}
}

func (e *env) imports(r onceguard.Record, o onceguard.Outcome) {
	e.Helper()
	list, err := e.Store.Import(e.ctx, []onceguard.Record{r})
	e.want(e.only(list, err), o, onceguard.NoTransition)
}

func importReplays(e *env) {
	r := e.past("1")
	e.imports(r, onceguard.Applied)
	e.same(r, e.found(r.ID))
	e.imports(r, onceguard.Settled) // sent again
	c := e.request()
	c.ID, c.Key = r.ID, r.Key // whatever its input is: none was recorded
	e.same(r, e.claim(c, onceguard.Settled, onceguard.NoTransition).Record)
	failed := e.past("2")
	failed.State, failed.Result = onceguard.Failed, onceguard.Result{Missing: onceguard.BodyNotKept}
	e.imports(failed, onceguard.Applied)
	e.same(failed, e.found(failed.ID))
}

func importExisting(e *env) {
	c := e.granted()
	before := e.found(c.ID)
	r := e.past("1")
	r.ID, r.Key = c.ID, c.Key
	e.imports(r, onceguard.Stale)
	e.same(before, e.found(c.ID))

	r = e.past("2")
	e.imports(r, onceguard.Applied)
	other := r
	other.Result = onceguard.NewResult("refund/1", []byte("other"))
	e.imports(other, onceguard.Stale)
	other = r
	other.State = onceguard.Failed
	e.imports(other, onceguard.Stale)
	e.same(r, e.found(r.ID))
}

func importFinal(e *env) {
	good := e.past("good")
	bad := []onceguard.Record{good}
	for _, s := range []onceguard.State{onceguard.Absent, onceguard.Claimed, onceguard.Released, onceguard.Uncertain} {
		r := e.past(s.String())
		r.State = s
		bad = append(bad, r)
	}
	list, err := e.Store.Import(e.ctx, bad)
	e.must(err)
	for i, a := range list {
		if i == 0 {
			e.want(a, onceguard.Applied, onceguard.NoTransition)
			continue
		}
		e.failed(a.Err)
		e.missing(bad[i].ID)
	}
	e.same(good, e.found(good.ID))
}
