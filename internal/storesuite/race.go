package storesuite

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceguard/onceguard"
)

var raceCases = []testCase{
	{"of many claims one wins", claimRace},
	{"of many claims in overlapping slices one wins each", claimSliceRace},
	{"attempt numbers are never given twice", attemptRace},
	{"a takeover fences the owner that settles at the same time", takeoverRace},
}

var clockCases = []testCase{
	{"a jump forward parks and fences nobody's result", clockForward},
	{"a jump backward ends no lease", clockBackward},
}

// crowd is how many callers ask at once.
const crowd = 64

func claimRace(e *env) {
	stores := e.both()
	for range 5 {
		c := e.request()
		var granted atomic.Int64
		var winner sync.Map
		start := make(chan struct{})
		var all sync.WaitGroup
		for i := range crowd {
			all.Go(func() {
				mine := again(c)
				<-start
				list, err := stores[i%2].Claim(e.ctx, []onceguard.Claim{mine})
				if err != nil || list[0].Err != nil {
					e.Errorf("claim: %v, %v", err, list)
					return
				}
				switch a := list[0]; a.Outcome {
				case onceguard.Granted:
					granted.Add(1)
					winner.Store("token", mine)
				case onceguard.Held:
				default:
					e.Errorf("answered %s", a.Outcome)
				}
			})
		}
		close(start)
		all.Wait()
		if n := granted.Load(); n != 1 {
			e.Fatalf("%d claims of one request won", n)
		}
		w, _ := winner.Load("token")
		e.settle(succeeds(w.(onceguard.Claim), 1), onceguard.Settled, onceguard.T7)
	}
}

func claimSliceRace(e *env) {
	const requests, callers = 24, 16
	stores := e.both()
	cs := make([]onceguard.Claim, requests)
	for i := range cs {
		cs[i] = e.request()
	}
	granted := make([]atomic.Int64, requests)
	var all sync.WaitGroup
	for w := range callers {
		all.Go(func() {
			mine, at := make([]onceguard.Claim, requests), make([]int, requests)
			for i := range requests { // each in its own order, which must not deadlock
				at[i] = (i + 5*w) % requests
				if w%2 == 1 {
					at[i] = requests - 1 - at[i]
				}
				mine[i] = again(cs[at[i]])
			}
			list, err := stores[w%2].Claim(e.ctx, mine)
			if err != nil || len(list) != len(mine) {
				e.Errorf("claim: %v, %d answers to %d", err, len(list), len(mine))
				return
			}
			for i, a := range list {
				if a.Err != nil {
					e.Errorf("member: %v", a.Err)
				}
				if a.Outcome == onceguard.Granted {
					granted[at[i]].Add(1)
					if a.Record.ID != mine[i].ID {
						e.Error("an answer belongs to another question")
					}
				}
			}
		})
	}
	all.Wait()
	for i := range granted {
		if n := granted[i].Load(); n != 1 {
			e.Errorf("request %d was granted %d times", i, n)
		}
	}
}

func attemptRace(e *env) {
	unlimited := rerun
	unlimited.MaxAttempts = 1 << 20
	c := e.request(under(unlimited), leased(0))
	var mu sync.Mutex
	given := map[int64]int{}
	stores := e.both()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for range 5 {
				list, err := stores[i%2].Claim(e.ctx, []onceguard.Claim{again(c)})
				if err != nil || list[0].Err != nil {
					e.Errorf("claim: %v, %v", err, list)
					return
				}
				if list[0].Outcome == onceguard.Granted {
					mu.Lock()
					given[list[0].Record.Attempt]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	for n, times := range given {
		if times != 1 {
			e.Errorf("attempt %d was given %d times", n, times)
		}
	}
	if last := e.found(c.ID).Attempt; int(last) != len(given) {
		e.Errorf("the last attempt is %d, %d were given", last, len(given))
	}
}

func takeoverRace(e *env) {
	for range 10 {
		c := e.granted(under(rerun), leased(0))
		var settled, claimed onceguard.Answer
		var all sync.WaitGroup
		all.Go(func() {
			if list, err := e.Store.Settle(e.ctx, []onceguard.Settlement{succeeds(c, 1)}); err != nil {
				e.Errorf("settle: %v", err)
			} else {
				settled = list[0]
			}
		})
		all.Go(func() {
			if list, err := e.Store.Claim(e.ctx, []onceguard.Claim{again(c, leased(long))}); err != nil {
				e.Errorf("claim: %v", err)
			} else {
				claimed = list[0]
			}
		})
		all.Wait()
		switch r := e.found(c.ID); {
		case settled.Transition == onceguard.T7 && claimed.Outcome == onceguard.Settled && r.State == onceguard.Succeeded:
		case settled.Outcome == onceguard.Fenced && claimed.Transition == onceguard.T4 && r.State == onceguard.Claimed && r.Attempt == 2:
		default:
			e.Errorf("%s at attempt %d; settle %s by %s, claim %s by %s", r.State, r.Attempt, settled.Outcome, settled.Transition, claimed.Outcome, claimed.Transition)
		}
	}
}

func clockForward(e *env) {
	if e.AdvanceClock == nil {
		e.Skip("the harness cannot move the store's clock")
	}
	c, d := e.granted(), e.granted(under(forgets))
	e.AdvanceClock(2 * long)
	e.claim(again(c), onceguard.Parked, onceguard.T5)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	second := again(d)
	e.claim(second, onceguard.Granted, onceguard.T4)
	e.AdvanceClock(2 * horizon)
	e.claim(again(d), onceguard.Parked, onceguard.T5)
	e.settle(succeeds(second, 2), onceguard.Settled, onceguard.T7)

	// A takeover's key is as old as the first attempt's.
	d = e.granted(under(forgets))
	e.AdvanceClock(horizon - 2*long)
	e.claim(again(d), onceguard.Granted, onceguard.T4)
	e.AdvanceClock(3 * long)
	e.claim(again(d), onceguard.Parked, onceguard.T5)

	// An order to run again gives the key a new horizon, which later unknown
	// attempts do not get.
	d = e.granted(under(forgets))
	e.AdvanceClock(2 * horizon)
	e.claim(again(d), onceguard.Parked, onceguard.T5)
	e.resolve(person(verdict(d, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	e.claim(again(d), onceguard.Granted, onceguard.T3)
	e.AdvanceClock(2 * long)
	third := again(d)
	e.claim(third, onceguard.Granted, onceguard.T4)
	e.release(third, 3)
	e.AdvanceClock(2 * horizon)
	e.claim(again(d), onceguard.Parked, onceguard.T3)
}

func clockBackward(e *env) {
	if e.AdvanceClock == nil {
		e.Skip("the harness cannot move the store's clock")
	}
	c := e.granted()
	e.AdvanceClock(-24 * time.Hour)
	e.claim(again(c), onceguard.Held, onceguard.NoTransition)
	until := e.found(c.ID).LeaseUntil
	e.renew(renewal(c, 1, long), onceguard.Applied, onceguard.T6)
	if now := e.found(c.ID).LeaseUntil; now.Before(until) {
		e.Errorf("a renewal moved the lease from %s back to %s", until, now)
	}
	if list := e.sweep(10); len(list) != 0 {
		e.Errorf("swept %d records", len(list))
	}
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.pruned(0, 0)
	e.claim(again(c), onceguard.Settled, onceguard.NoTransition)
}
