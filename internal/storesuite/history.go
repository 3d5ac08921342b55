package storesuite

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

var historyCases = []testCase{
	{"random histories agree with a second model", func(e *env) { histories(e, e.Store, false) }},
	{"random histories with lost answers end where clean ones do", ambiguousHistories},
	{"concurrent histories are linearizable", linearizable},
}

// world is a random history's view of one store: a few requests, their models,
// and every token that was drawn.
type world struct {
	Chooser
	e        *env
	store    onceguard.Store
	lossy    bool // answers get lost, and calls are made again
	requests []onceguard.Claim
	models   []model
	tokens   []onceguard.Token // numbered from 1 in the models
}

// histories runs as many random histories as the harness wants, each on its
// own requests.
func histories(e *env, store onceguard.Store, lossy bool) {
	e.Histories(e.T, func(c Chooser) {
		w := &world{Chooser: c, e: e, store: store, lossy: lossy, models: make([]model, 1+c.Int("requests", 0, 3)/3)}
		for range w.models {
			w.requests = append(w.requests, e.request())
		}
		for i := range c.Int("steps", 4, 20) {
			e.tick()
			w.step(fmt.Sprint("step ", i))
		}
		e.tick()
		for i := range w.requests {
			w.compare(i)
		}
	})
}

// tick lets more than a microsecond pass by the store's clock, so that a lease
// of zero has lapsed and a horizon of one microsecond is over.
func (e *env) tick() {
	if e.AdvanceClock != nil {
		e.AdvanceClock(brief)
		return
	}
	time.Sleep(50 * time.Microsecond)
}

var modelPolicies = []onceguard.Policy{
	{},
	{Kind: onceguard.RerunKind},
	{Kind: onceguard.RerunKind, MaxAttempts: 2},
	onceguard.SafeRetry(never, onceguard.RefusalsRemembered), onceguard.SafeRetry(never, onceguard.RefusalsForgotten),
	onceguard.SafeRetry(soon, onceguard.RefusalsRemembered),
	{Kind: onceguard.TransactionalKind},
}

// Final records end a history early, so what keeps it going is drawn more often.
var (
	modelVerbs = []onceguard.Verb{
		onceguard.SettleUnknown, onceguard.SettleUnknown, onceguard.SettleReleased, onceguard.SettleReleased,
		onceguard.SettleFailed, onceguard.SettleSucceeded,
	}
	modelVerdicts = []onceguard.ResolveVerdict{
		onceguard.ResolveNeverWill, onceguard.ResolveNeverWill, onceguard.ResolveRunAgain, onceguard.ResolveRunAgain,
		onceguard.ResolvePark, onceguard.ResolveNote, onceguard.ResolveRefused, onceguard.ResolveHappened,
	}
)

// step draws one call, makes it, and compares answer and record.
func (w *world) step(name string) {
	kinds := []string{"claim", "claim", "claim", "settle", "settle", "settle", "resolve", "resolve", "renew", "sweep"}
	if w.e.AdvanceClock != nil {
		kinds = append(kinds, "jump")
	}
	kind := sampled(w, name, kinds)
	switch kind {
	case "sweep":
		w.sweep()
		return
	case "jump":
		w.e.AdvanceClock(2 * long)
		for i := range w.models {
			w.models[i].lapsed = w.models[i].state == onceguard.Claimed
		}
		return
	}
	i := w.Int("request", 0, len(w.models)-1)
	a := w.draw(kind, w.models[i])
	next, want := w.models[i].next(a)
	if got := w.call(i, a); !w.agrees(got, want) {
		w.Fatalf("%s of request %d: answered %s by %s, mine %v; want %s by %s, mine %v\nmodel before: %+v\naction: %+v",
			kind, i, got.outcome, got.transition, got.mine, want.outcome, want.transition, want.mine, w.models[i], a)
	}
	w.models[i] = next
	w.e.tick()
	w.compare(i)
}

func (w *world) draw(kind string, m model) action {
	one := func(label string, n int) bool { return w.Int(label, 1, n) == 1 }
	a := action{attempt: m.attempt, token: m.owner}
	if a.token == 0 || one("another token", 6) {
		if len(w.tokens) == 0 {
			w.tokens = append(w.tokens, newToken())
		}
		a.token = w.Int("token", 1, len(w.tokens))
	}
	if one("another attempt", 6) {
		a.attempt--
	}
	if one("short lease", 2) {
		a.lease = 0
	} else {
		a.lease = long
	}
	a.body = sampled(w, "body", []string{"a", "b"})
	switch kind {
	case "claim":
		a.kind = doClaim
		if !one("resend", 4) || a.token == 0 {
			w.tokens = append(w.tokens, newToken())
			a.token = len(w.tokens)
		}
		a.policy = sampled(w, "policy", modelPolicies)
		if m.state != onceguard.Absent && !one("another policy", 4) {
			a.policy = m.policy
		}
		a.input = m.input
		if one("another input", 8) {
			a.input = 1 - m.input
		}
		a.optIn = !one("not opted in", 3)
	case "renew":
		a.kind = doRenew
	case "settle":
		a.kind = doSettle
		a.verb = sampled(w, "verb", modelVerbs)
	case "resolve":
		a.kind = doResolve
		a.verdict = sampled(w, "verdict", modelVerdicts)
		a.by = sampled(w, "by", []string{"reconciler", "operator:ada", "operator:bob"})
		switch {
		case a.verdict == onceguard.ResolvePark:
			a.by = "sweeper"
		case a.verdict == onceguard.ResolveRunAgain && a.by == "reconciler":
			a.by = "operator:ada"
		}
	}
	return a
}

// perform makes the call that a describes.
func perform(e *env, s onceguard.Store, c onceguard.Claim, token onceguard.Token, a action) (onceguard.Answer, error) {
	var list []onceguard.Answer
	var err error
	switch a.kind {
	case doClaim:
		c.Owner, c.Policy, c.Lease, c.RunAfterNeverWill = token, a.policy, a.lease, a.optIn
		c.Fingerprints = []onceguard.Fingerprint{print(fmt.Sprint("input ", a.input))}
		list, err = s.Claim(e.ctx, []onceguard.Claim{c})
	case doRenew:
		list, err = s.Renew(e.ctx, []onceguard.Renewal{{ID: c.ID, Attempt: a.attempt, Owner: token, Lease: a.lease}})
	case doSettle:
		n := onceguard.Settlement{ID: c.ID, Attempt: a.attempt, Owner: token, Verb: a.verb, Reason: "reason"}
		if a.verb <= onceguard.SettleFailed {
			n.Result = onceguard.NewResult("t", []byte(a.body))
		}
		list, err = s.Settle(e.ctx, []onceguard.Settlement{n})
	case doResolve:
		return s.Resolve(e.ctx, resolution(c, a))
	default:
		list, err = s.Get(e.ctx, []onceguard.RequestID{c.ID})
	}
	if err != nil {
		return onceguard.Answer{}, err
	}
	return list[0], list[0].Err
}

func resolution(c onceguard.Claim, a action) onceguard.Resolution {
	n := onceguard.Resolution{ID: c.ID, Attempt: a.attempt, Verdict: a.verdict, Who: onceguard.ByReconciler, Reason: a.verdict.String()}
	if a.by == "sweeper" {
		n.Who = onceguard.BySweeper
	} else if a.by != "reconciler" {
		n.Who, n.By = onceguard.ByOperator, a.by[len("operator:"):]
	}
	if a.verdict == onceguard.ResolveHappened || a.verdict == onceguard.ResolveRefused {
		n.Result = onceguard.NewResult("t", []byte(a.body))
	}
	return n
}

func (w *world) call(i int, a action) reply {
	for {
		got, err := perform(w.e, w.store, w.requests[i], w.tokens[a.token-1], a)
		if errors.Is(err, ErrAnswerLost) {
			w.e.tick()
			continue
		}
		if err != nil {
			w.Fatalf("store: %v", err)
		}
		return reply{got.Outcome, got.Transition, got.Mine}
	}
}

// agrees compares answers. The second answer to the same call cannot be the
// first one again (T1 becomes T2), but it must mean the same to the caller.
func (w *world) agrees(got, want reply) bool {
	if !w.lossy {
		return got == want
	}
	parked := want.transition == onceguard.T5 && got.outcome == onceguard.Applied
	return got.outcome == want.outcome || parked
}

func (w *world) sweep() {
	want := map[onceguard.RequestID]bool{}
	for i, m := range w.models {
		next, parked := m.swept()
		if w.models[i] = next; parked {
			want[w.requests[i].ID] = true
		}
	}
	list, err := w.store.Sweep(w.e.ctx, 1000)
	if err != nil {
		w.Fatalf("sweep: %v", err)
	}
	got := map[onceguard.RequestID]bool{}
	for _, r := range list {
		for _, c := range w.requests { // others are of earlier histories
			if c.ID == r.ID {
				got[r.ID] = true
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Fatalf("swept (-want +got):\n%s", diff)
	}
	for i := range w.models {
		w.compare(i)
	}
}

// compare reads a record and holds it against its model.
func (w *world) compare(i int) {
	list, err := w.store.Get(w.e.ctx, []onceguard.RequestID{w.requests[i].ID})
	if err != nil {
		w.Fatalf("get: %v", err)
	}
	r, m := list[0].Record, w.models[i]
	got := model{
		state: r.State, attempt: r.Attempt, policy: r.Policy, unknown: r.UnknownAttempt, waived: r.Waived,
		optIn: r.RunAfterNeverWill, generation: r.Generation, body: string(r.Result.Body),
		lapsed: r.State == onceguard.Claimed && r.LeaseLeft(list[0].Now) <= 0,
	}
	for n, t := range w.tokens {
		if r.Owner.Is(t) {
			got.owner = n + 1
		}
	}
	if r.Fingerprint == print("input 1") {
		got.input = 1
	}
	if r.State.Final() {
		got.by = r.SettledBy
	}
	m.ordered, m.decided = false, "" // not visible by themselves
	if diff := cmp.Diff(m, got, cmp.AllowUnexported(model{})); diff != "" {
		w.Fatalf("request %d differs (-model +store):\n%s", i, diff)
	}
}

// ambiguousHistories runs the same histories over a store whose answers get
// lost before or after the write, and whose caller asks until it is answered.
func ambiguousHistories(e *env) {
	calls := 0
	histories(e, Ambiguous(e.Store, func(string) Loss {
		calls++
		return []Loss{Deliver, LoseAfter, LoseBefore, LoseAfter, LoseAfter, Deliver, LoseBefore}[calls%7]
	}), true)
	if calls < 100 {
		e.Errorf("only %d answers could have been lost", calls)
	}
}
