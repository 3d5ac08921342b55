package storesuite

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

var listCases = []testCase{
	{"newest first, page by page", listPages},
	{"stable under inserts and changes", listStable},
	{"filters", listFilters},
	{"ages", listAges},
	{"result bodies on demand", listResults},
	{"limits", listLimits},
	{"a foreign cursor is a clear error", listCursor},
}

func (e *env) list(f onceguard.Filter) onceguard.Page {
	e.Helper()
	page, err := e.Store.List(e.ctx, f)
	e.must(err)
	if page.Now.IsZero() {
		e.Error("the page does not carry the store's time")
	}
	return page
}

func ids(records []onceguard.Record) []onceguard.RequestID {
	out := make([]onceguard.RequestID, len(records))
	for i, r := range records {
		out[i] = r.ID
	}
	return out
}

// made creates n requests at different times and returns them, newest first.
func (e *env) made(n int) []onceguard.RequestID {
	e.Helper()
	var out []onceguard.RequestID
	for range n {
		out = append(out, e.granted().ID)
		e.lapse()
	}
	slices.Reverse(out)
	return out
}

func listPages(e *env) {
	want := e.made(7)
	var got []onceguard.RequestID
	f := onceguard.Filter{Limit: 3}
	sizes := []int{}
	for {
		page := e.list(f)
		got = append(got, ids(page.Records)...)
		sizes = append(sizes, len(page.Records))
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
		if len(sizes) > 7 {
			e.Fatal("the listing does not end")
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("order differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{3, 3, 1}, sizes); diff != "" {
		e.Errorf("page sizes differ (-want +got):\n%s", diff)
	}
	e.same(e.found(want[0]), e.list(onceguard.Filter{Limit: 1, Results: true}).Records[0])
}

func listStable(e *env) {
	want := e.made(6)
	page := e.list(onceguard.Filter{Limit: 3})
	got := ids(page.Records)
	newer := e.granted()
	e.settle(succeeds(newer, 1), onceguard.Settled, onceguard.T7)
	e.resolve(onceguard.Resolution{ID: want[4], Attempt: 1, Verdict: onceguard.ResolvePark, Who: onceguard.BySweeper, Reason: "dead"}, onceguard.Parked, onceguard.T5)
	for page.Next != "" {
		page = e.list(onceguard.Filter{Limit: 3, Cursor: page.Next})
		got = append(got, ids(page.Records)...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		e.Errorf("an insert or a change moved the pages (-want +got):\n%s", diff)
	}
}

func listFilters(e *env) {
	a := e.granted(inScope("tenant-a"))
	b := e.granted(inScope("tenant-b"))
	e.settle(succeeds(b, 1), onceguard.Settled, onceguard.T7)
	other := e.request(inScope("tenant-a"))
	other.Action = "mail.send"
	e.claim(other, onceguard.Granted, onceguard.T1)
	waived := e.parked(inScope("tenant-b"))
	e.resolve(person(verdict(waived, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	for name, x := range map[string]struct {
		f    onceguard.Filter
		want []onceguard.Claim
	}{
		"all":          {onceguard.Filter{}, []onceguard.Claim{a, b, other, waived}},
		"scope":        {onceguard.Filter{Scope: "tenant-a"}, []onceguard.Claim{a, other}},
		"action":       {onceguard.Filter{Action: "mail.send"}, []onceguard.Claim{other}},
		"key":          {onceguard.Filter{Key: b.Key}, []onceguard.Claim{b}},
		"one state":    {onceguard.Filter{States: []onceguard.State{onceguard.Succeeded}}, []onceguard.Claim{b}},
		"states":       {onceguard.Filter{States: []onceguard.State{onceguard.Succeeded, onceguard.Released}}, []onceguard.Claim{b, waived}},
		"waived":       {onceguard.Filter{Waived: true}, []onceguard.Claim{waived}},
		"together":     {onceguard.Filter{Scope: "tenant-a", Action: "refund.create", States: []onceguard.State{onceguard.Claimed}}, []onceguard.Claim{a}},
		"no such":      {onceguard.Filter{Scope: "tenant-c"}, nil},
		"not a prefix": {onceguard.Filter{Scope: "tenant"}, nil},
		"no pattern":   {onceguard.Filter{Scope: "tenant%", Action: "%"}, nil},
	} {
		got, want := map[onceguard.RequestID]bool{}, map[onceguard.RequestID]bool{}
		for _, r := range e.list(x.f).Records {
			got[r.ID] = true
		}
		for _, c := range x.want {
			want[c.ID] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			e.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Ages are counted from the entry into the present state.
func listAges(e *env) {
	c := e.granted()
	e.parked()
	e.lapse()
	for name, x := range map[string]struct {
		f    onceguard.Filter
		want int
	}{
		"older than a moment":  {onceguard.Filter{OlderThan: brief}, 2},
		"older than an hour":   {onceguard.Filter{OlderThan: time.Hour}, 0},
		"newer than an hour":   {onceguard.Filter{NewerThan: time.Hour}, 2},
		"newer than a moment":  {onceguard.Filter{NewerThan: brief}, 0},
		"between":              {onceguard.Filter{OlderThan: brief, NewerThan: time.Hour}, 2},
		"older, in one state":  {onceguard.Filter{OlderThan: brief, States: []onceguard.State{onceguard.Uncertain}}, 1},
		"newer, of one scope":  {onceguard.Filter{NewerThan: time.Hour, Scope: "elsewhere"}, 0},
		"older, cut to a page": {onceguard.Filter{OlderThan: brief, Limit: 1}, 1},
	} {
		if got := len(e.list(x.f).Records); got != x.want {
			e.Errorf("%s: %d records, want %d", name, got, x.want)
		}
	}
	before := e.found(c.ID).Since
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	if since := e.found(c.ID).Since; !since.After(before) {
		e.Errorf("since %s after the settle, %s before: age is counted from the present state", since, before)
	}
}

func listResults(e *env) {
	c := e.granted()
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	plain := e.list(onceguard.Filter{}).Records[0].Result
	if len(plain.Body) != 0 || plain.Digest != succeeds(c, 1).Result.Digest || plain.Type != "refund/1" || plain.Missing != onceguard.HasBody {
		e.Errorf("without Results the listing shows %+v", plain)
	}
	if full := e.list(onceguard.Filter{Results: true}).Records[0].Result; !full.Intact() || string(full.Body) != string(succeeds(c, 1).Result.Body) {
		e.Errorf("with Results the listing shows %+v", full)
	}
}

func listLimits(e *env) {
	if e.Short {
		e.Skip("a thousand writes: not with -short")
	}
	records := make([]onceguard.Record, 1001)
	for i := range records {
		records[i] = e.past(fmt.Sprint("import-", i))
	}
	for batch := range slices.Chunk(records, 100) {
		_, err := e.Store.Import(e.ctx, batch)
		e.must(err)
	}
	for limit, want := range map[int]int{0: 100, 7: 7, 1000: 1000, 5000: 1000} {
		page := e.list(onceguard.Filter{Limit: limit})
		if len(page.Records) != want || page.Next == "" {
			e.Errorf("limit %d: %d records, next %q; want %d and a next page", limit, len(page.Records), page.Next, want)
		}
	}
	// Imported rows share their time of creation: the pages still meet exactly.
	seen := map[onceguard.RequestID]int{}
	for f := (onceguard.Filter{Limit: 300}); ; {
		page := e.list(f)
		for _, r := range page.Records {
			seen[r.ID]++
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
	}
	for id, n := range seen {
		if n != 1 {
			e.Errorf("%s is listed %d times", id, n)
		}
	}
	if len(seen) != len(records) {
		e.Errorf("%d of %d are listed", len(seen), len(records))
	}
}

func listCursor(e *env) {
	e.made(2)
	for _, cursor := range []string{"x", "'; DROP TABLE", "AAAA", "%%%", "9223372036854775808", "\u202e"} {
		page, err := e.Store.List(e.ctx, onceguard.Filter{Cursor: cursor})
		if err == nil {
			e.Errorf("cursor %q is answered with %d records", cursor, len(page.Records))
			continue
		}
		e.failed(err)
		if _, err = e.Store.Prune(e.ctx, onceguard.PruneRequest{Cursor: cursor}); err == nil {
			e.Errorf("prune took the cursor %q", cursor)
			continue
		}
		e.failed(err)
	}
}
