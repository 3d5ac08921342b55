package storesuite

import (
	"sync"

	"github.com/onceguard/onceguard"
)

var sweepCases = []testCase{
	{"parks lapsed claims that nobody may take over", sweepParks},
	{"leaves the rest alone", sweepLeaves},
	{"parks no more than its limit", sweepLimit},
	{"two at once park each record once", sweepTwo},
	{"a sweep and the owner at once agree", sweepOwner},
}

func (e *env) sweep(limit int) []onceguard.Record {
	e.Helper()
	list, err := e.Store.Sweep(e.ctx, limit)
	e.must(err)
	return list
}

func sweepParks(e *env) {
	limited := rerun
	limited.MaxAttempts = 1
	lapsed := map[onceguard.RequestID]bool{}
	for _, p := range []onceguard.Policy{atMostOnce, limited, onceguard.SafeRetry(brief, onceguard.RefusalsForgotten)} {
		lapsed[e.granted(under(p), leased(brief)).ID] = true
	}
	e.lapse()
	for _, r := range e.sweep(100) {
		if !lapsed[r.ID] || r.State != onceguard.Uncertain {
			e.Errorf("parked %s as %s", r.ID, r.State)
		}
		delete(lapsed, r.ID)
		e.same(r, e.state(r.ID, onceguard.Uncertain, 1))
		e.evidence(r.ID, onceguard.EvidenceParked)
	}
	if len(lapsed) > 0 {
		e.Errorf("%d lapsed claims are not parked", len(lapsed))
	}
	if more := e.sweep(100); len(more) != 0 {
		e.Errorf("a second sweep parked %d", len(more))
	}
}

func sweepLeaves(e *env) {
	var before []onceguard.Record
	keep := func(c onceguard.Claim) { before = append(before, e.found(c.ID)) }
	keep(e.granted())
	for _, p := range repeating {
		keep(e.granted(under(p), leased(brief))) // left to the next claim
	}
	ended := e.granted(under(rerun))
	e.settle(says(ended, 1, onceguard.SettleUnknown, "?"), onceguard.Applied, onceguard.T9b)
	keep(ended)
	renewed := e.granted(leased(brief))
	e.renew(renewal(renewed, 1, long), onceguard.Applied, onceguard.T6)
	keep(renewed)
	resent := e.granted(leased(brief))
	resent.Lease = long
	e.claim(resent, onceguard.Granted, onceguard.T2)
	keep(resent)
	released := e.granted(leased(brief))
	e.release(released, 1)
	keep(released)
	final := e.granted(leased(brief))
	e.settle(succeeds(final, 1), onceguard.Settled, onceguard.T7)
	keep(final)
	keep(e.parked())
	e.lapse()
	if list := e.sweep(100); len(list) != 0 {
		e.Errorf("swept %d records, the first is %s under %s", len(list), list[0].State, list[0].Policy.Kind)
	}
	for _, r := range before {
		e.same(r, e.found(r.ID))
	}
}

func sweepLimit(e *env) {
	for range 5 {
		e.granted(leased(brief))
	}
	e.granted(under(rerun), leased(brief))
	e.lapse()
	for _, want := range []int{2, 2, 1, 0} {
		if got := len(e.sweep(2)); got != want {
			e.Fatalf("swept %d, want %d", got, want)
		}
	}
}

func sweepTwo(e *env) {
	const records = 20
	for range records {
		e.granted(leased(brief))
	}
	e.lapse()
	var mu sync.Mutex
	parked := map[onceguard.RequestID]int{}
	var all sync.WaitGroup
	for _, s := range e.both() {
		all.Go(func() {
			for range 10 * records { // one may pass by what the other holds
				list, err := s.Sweep(e.ctx, 3)
				if err != nil {
					e.Errorf("sweep: %v", err)
				}
				mu.Lock()
				for _, r := range list {
					parked[r.ID]++
				}
				n := len(parked)
				mu.Unlock()
				if n == records || err != nil {
					return
				}
			}
		})
	}
	all.Wait()
	for id, n := range parked {
		if n != 1 {
			e.Errorf("%s was parked %d times", id, n)
		}
		e.evidence(id, onceguard.EvidenceParked)
	}
	if len(parked) != records {
		e.Errorf("%d of %d are parked", len(parked), records)
	}
}

func sweepOwner(e *env) {
	for range 10 {
		c := e.granted(leased(brief))
		e.lapse()
		var swept []onceguard.Record
		var all sync.WaitGroup
		all.Go(func() {
			var err error
			if swept, err = e.Store.Sweep(e.ctx, 100); err != nil {
				e.Errorf("sweep: %v", err)
			}
		})
		all.Go(func() {
			if list, err := e.Store.Settle(e.ctx, []onceguard.Settlement{succeeds(c, 1)}); err != nil || list[0].Transition != onceguard.T7 {
				e.Errorf("the owner's success is lost: %v, %v", list, err)
			}
		})
		all.Wait()
		e.state(c.ID, onceguard.Succeeded, 1)
		if len(swept) > 1 {
			e.Errorf("swept %d records of one", len(swept))
		}
	}
}
