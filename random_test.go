package onceguard_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

var (
	randomSeed   = flag.Uint64("random.seed", 0, "repeat one random history of TestRandomHistories")
	randomRounds = flag.Int("random.rounds", 60, "random histories to try")
)

// downstream is the outside world: it counts what took place, by request, and
// for safe-retry dedups by the key that it is sent.
type downstream struct {
	mu      sync.Mutex
	applied map[onceguard.RequestID]int
	may     map[onceguard.RequestID]int // starts that did not end in "surely not"
	values  map[onceguard.RequestID][]refund
	byKey   map[string]refund
	refused map[string]bool
}

// apply does the effect once per dedup key; an empty one is always new.
func (d *downstream) apply(id onceguard.RequestID, key string) refund {
	d.mu.Lock()
	defer d.mu.Unlock()
	if v, done := d.byKey[key]; done && key != "" {
		return v
	}
	d.applied[id]++
	v := refund{fmt.Sprint("re_", id.String()[4:10], "_", d.applied[id]), d.applied[id]}
	d.values[id] = append(d.values[id], v)
	d.byKey[key] = v
	return v
}

// history is one random run: processes that call the guard for few keys while
// the store loses answers and clocks jump.
type history struct {
	*world
	rng  *rand.Rand
	down *downstream

	mu       sync.Mutex
	receipts map[onceguard.RequestID][]onceguard.Receipt[refund]
	refusals map[onceguard.RequestID]int
	tally    map[string]int
}

func (h *history) chance(percent int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(100) < percent
}

func (h *history) pick(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rng.IntN(n)
}

func (h *history) saw(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tally[what]++
}

// fate is called with the store's lock held and must not wait.
func (h *history) fate(op string, _ int) fate {
	if op == "claim" && h.chance(3) {
		h.clock.offset.Add(int64(time.Duration(h.pick(120)) * time.Second)) // suspended
	}
	if h.chance(2) {
		h.jumped.Add(int64(time.Duration(h.pick(90)) * time.Second))
	}
	switch n := h.pick(100); {
	case n < 8:
		h.saw("lost before")
		return lostBefore
	case n < 18:
		h.saw("lost after " + op)
		return lostAfter
	case n < 22:
		return down
	case n < 24:
		return hang
	}
	return reach
}

// effect ends at random, and tells the downstream what it did.
func (h *history) effect(p onceguard.Policy) effect {
	return func(_ context.Context, a *onceguard.Attempt) (refund, error) {
		id, key := a.RequestID(), ""
		if p.Kind == onceguard.SafeRetryKind {
			key = a.DownstreamKey()
		}
		if a.Number() > 1 {
			h.saw("later attempt")
		}
		end := h.pick(10)
		if end >= 2 {
			h.down.mu.Lock()
			h.down.may[id]++
			h.down.mu.Unlock()
		}
		switch h.pick(5) {
		case 0:
			time.Sleep(time.Duration(h.pick(200)) * time.Second)
		case 1:
			time.Sleep(time.Duration(h.pick(2000)) * time.Millisecond)
		}
		switch end {
		case 0, 1:
			return refund{}, onceguard.NotExecuted(errors.New("dial"))
		case 2:
			h.down.mu.Lock()
			_, done := h.down.byKey[key]
			if done && key != "" { // it acted before: it says so again
				defer h.down.mu.Unlock()
				return h.down.byKey[key], nil
			}
			h.down.refused[key] = true
			h.down.mu.Unlock()
			return refund{}, onceguard.Refused(errors.New("declined"))
		case 3:
			h.applyUnlessRefused(p, id, key)
			return refund{}, errEOF
		case 4:
			return refund{}, errEOF // and nothing happened
		case 5:
			h.applyUnlessRefused(p, id, key)
			if h.pick(2) == 0 {
				panic("boom")
			}
			runtime.Goexit()
		}
		if v, ok := h.applyUnlessRefused(p, id, key); ok {
			return v, nil
		}
		return refund{}, onceguard.Refused(errors.New("declined"))
	}
}

// applyUnlessRefused acts, unless a downstream that remembers refusals has
// refused this key before.
func (h *history) applyUnlessRefused(p onceguard.Policy, id onceguard.RequestID, key string) (refund, bool) {
	h.down.mu.Lock()
	no := p.Refusals == onceguard.RefusalsRemembered && h.down.refused[key]
	h.down.mu.Unlock()
	if no {
		return refund{}, false
	}
	return h.down.apply(id, key), true
}

func (h *history) call(g *onceguard.Guard, r onceguard.Request) {
	ctx, cancel := h.ctx, context.CancelFunc(func() {})
	if h.chance(20) {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(h.pick(30_000))*time.Millisecond)
	}
	defer cancel()
	r.Limits.Wait = time.Duration(h.pick(100)-10) * time.Second
	r.Limits.Lease, r.Limits.MaxRun = 20*time.Second, 2*time.Minute
	defer func() {
		if p := recover(); p != nil && p != "boom" {
			panic(p)
		}
	}()
	rec, err := onceguard.Do(ctx, g, r, h.effect(r.Policy))
	var e *onceguard.Error
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.receipts[rec.RequestID] = append(h.receipts[rec.RequestID], rec)
		if rec.Replayed {
			h.tally["replay"]++
		}
	case errors.As(err, &e):
		h.tally[string(e.Code)]++
		if e.Code == onceguard.ErrRefused {
			h.refusals[e.RequestID]++
		}
	default:
		h.Errorf("an error that is not the guard's: %v", err)
	}
}

func TestRandomHistories(t *testing.T) {
	seeds := []uint64{*randomSeed}
	if *randomSeed == 0 {
		seeds = seeds[:0]
		for range *randomRounds {
			seeds = append(seeds, rand.Uint64())
		}
	}
	tally := map[string]int{}
	for _, seed := range seeds {
		if !t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomHistory(t, seed, tally) })
		}) {
			t.Fatalf("repeat with -run TestRandomHistories -random.seed %d", seed)
		}
	}
	if *randomSeed != 0 {
		return
	}
	// A history in which nothing went wrong proves nothing.
	for _, what := range []string{
		"lost before", "lost after claim", "lost after settle", "lost after renew", "later attempt", "replay",
		"uncertain", "not-executed", "refused", "in-progress", "not-run", "unsettled", string(onceguard.EventLeaseLost), string(onceguard.EventSuperseded), string(onceguard.EventMaxRun),
	} {
		if tally[what] == 0 {
			t.Errorf("inconclusive: no %q in any history (%v)", what, tally)
		}
	}
}

func randomHistory(t *testing.T, seed uint64, tally map[string]int) {
	h := &history{
		world: newWorld(t), rng: rand.New(rand.NewPCG(seed, 1)), tally: tally,
		receipts: map[onceguard.RequestID][]onceguard.Receipt[refund]{}, refusals: map[onceguard.RequestID]int{},
		down: &downstream{applied: map[onceguard.RequestID]int{}, may: map[onceguard.RequestID]int{}, values: map[onceguard.RequestID][]refund{}, byKey: map[string]refund{}, refused: map[string]bool{}},
	}
	policies := []onceguard.Policy{onceguard.AtMostOnce, onceguard.AtMostOnce, remembers, forgets, onceguard.Rerun}
	var requests []onceguard.Request
	for i := range 2 * len(policies) {
		requests = append(requests, under(policies[i%len(policies)], fmt.Sprint(i)))
	}
	guards := []*onceguard.Guard{h.guard, h.another(), h.another()}
	h.store.set(h.fate)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			for range 4 {
				one := make(chan struct{})
				go func() { // Goexit must not end the caller
					defer close(one)
					h.call(guards[i%len(guards)], requests[h.pick(len(requests))])
				}()
				<-one
				time.Sleep(time.Duration(h.pick(20_000)) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	h.store.set(nil)
	for _, g := range guards {
		h.close(g)
	}
	time.Sleep(10 * time.Minute) // every lease is over
	for _, e := range h.events.all() {
		h.tally[string(e.Kind)]++
	}
	for _, r := range requests {
		h.check(r)
	}
}

// check holds one request's receipts against what took place.
func (h *history) check(r onceguard.Request) {
	h.Helper()
	id, rec := h.id(r), h.record(r)
	applied, may := h.down.applied[id], h.down.may[id]
	name := fmt.Sprintf("%s %s (%s at attempt %d, %d applied, %d may have)", r.Policy.Kind, r.Key, rec.State, rec.Attempt, applied, may)
	if r.Policy.Kind == onceguard.AtMostOnceKind && may > 1 {
		h.Errorf("%s: started again although it may have happened", name)
	}
	if r.Policy.Kind != onceguard.RerunKind && applied > 1 {
		h.Errorf("%s: applied twice", name)
	}
	for _, got := range h.receipts[id] {
		got.Replayed = h.receipts[id][0].Replayed
		if diff := cmp.Diff(h.receipts[id][0], got); diff != "" {
			h.Errorf("%s: two callers got different receipts\n%s", name, diff)
		}
	}
	if len(h.receipts[id]) > 0 && (rec.State != onceguard.Succeeded || h.refusals[id] > 0) {
		h.Errorf("%s: %d callers were told of a success, %d of a refusal", name, len(h.receipts[id]), h.refusals[id])
	}
	switch rec.State {
	case onceguard.Succeeded:
		got, err := onceguard.Do(h.ctx, h.another(), r, h.never())
		known := false
		for _, v := range h.down.values[id] {
			known = known || v == got.Value
		}
		if err != nil || !known {
			h.Errorf("%s: the receipt says %+v (%v), the world %v", name, got.Value, err, h.down.values[id])
		}
	case onceguard.Failed:
		if applied > 0 {
			h.Errorf("%s: failed on record, done in fact", name)
		}
	case onceguard.Absent:
		if may > 0 {
			h.Errorf("%s: forgotten", name)
		}
	case onceguard.Released:
		if !rec.UnknownAttempt && may > 0 {
			h.Errorf("%s: released although something may have happened", name)
		}
	}
}
