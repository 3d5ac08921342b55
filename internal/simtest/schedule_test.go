package simtest

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// budget is how much trouble a schedule has left.
type budget struct {
	faults, crashes, jumps, clocks, operators, prunes, cancels int
	rate                                                       float64 // of faults, per decision
}

// theme is what a schedule does more of.
type theme int

const (
	general theme = iota
	mild          // only lost answers of the store, and short delays
	late          // owners that are late, and people who decide before them
	lookups       // lookups that race each other and the owners
)

func is(a, b theme) int {
	if a == b {
		return 1
	}
	return 0
}

// simulate runs the schedule of a seed, in a bubble of its own.
func simulate(t *testing.T, seed uint64) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 0x6f6e6365))}
	synctest.Test(t, func(t *testing.T) { w.run(t) })
	w.check() // outside: the time limit of a search is no virtual time
	return w
}

func (w *world) run(t *testing.T) {
	r := w.rng
	w.counts, w.tokens, w.inputs = counts{}, map[onceguard.Token]int{}, map[[32]byte]int{}
	w.claims = map[grantKey]*grant{}
	w.db = memstore.New(memstore.Options{Now: w.now})
	w.theme = []theme{mild, mild, late, late, lookups, lookups, general, general, general, general}[r.IntN(10)]
	w.mild = w.theme == mild
	for n := range 1 + r.IntN(2) {
		m := mode(r.IntN(modes))
		switch w.theme { // the modes in which it matters
		case late:
			m = []mode{plain, plain, voided, forgets, looked}[r.IntN(5)]
		case lookups:
			m = []mode{voided, voidedAgain, voidedAgain, quietly, looked}[r.IntN(5)]
		}
		id, err := onceguard.NewRequestID("default", m.name(), (&request{n: n + 1}).key())
		if err != nil {
			t.Fatal(err)
		}
		w.requests = append(w.requests, &request{
			n: n + 1, mode: m, id: id, first: map[string]time.Time{},
			refused: map[string]bool{}, voided: map[string]bool{}, burned: map[string]bool{},
		})
	}
	for range 2 + r.IntN(2) {
		w.start(t)
	}
	var err error
	if w.secrets, err = w.db.Secrets(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	b := budget{
		faults: r.IntN(14), crashes: r.IntN(3), jumps: r.IntN(5), clocks: max(0, r.IntN(5)-3), operators: r.IntN(4) * r.IntN(2),
		prunes: r.IntN(2), cancels: r.IntN(2), rate: []float64{0.05, 0.15, 0.3, 0.6}[r.IntN(4)],
	}
	switch w.theme {
	case mild:
		b = budget{faults: r.IntN(6), rate: 0.2, cancels: r.IntN(2)}
	case late:
		b.jumps, b.operators, b.prunes = 4+r.IntN(4), 5, r.IntN(3)
	case lookups:
		b.faults, b.rate = 8+r.IntN(8), 0.5
	}
	planned := 2 + r.IntN(6)
	for range 400 {
		synctest.Wait()
		w.tick()
		w.mu.Lock()
		quietNow := planned == 0 && w.open == 0
		w.mu.Unlock()
		if quietNow {
			break
		}
		w.act(t, &b, &planned)
	}
	w.heal(t)
}

// pick is a weighted choice.
type pick struct {
	weight int
	do     func()
}

// act does one thing of all that could happen now.
func (w *world) act(t *testing.T, b *budget, planned *int) {
	r := w.rng
	items := w.sorted()
	live := w.living()
	var picks []pick
	add := func(weight int, do func()) { picks = append(picks, pick{weight, do}) }
	if len(items) > 0 {
		add(24, func() {
			it := items[r.IntN(len(items))]
			w.release(it, w.draw(it, b))
		})
	}
	if *planned > 0 && len(live) > 0 {
		add(8, func() {
			if w.invite(live) {
				*planned--
			}
		})
	}
	w.mu.Lock()
	zombies := len(w.zombies)
	w.mu.Unlock()
	if zombies > 0 {
		add(6, func() { w.wake(r.IntN(zombies), r.IntN(4) > 0) })
	}
	add(5, func() { w.pass(time.Duration(1+r.IntN(400)) * time.Millisecond) })
	if !w.mild {
		add(3, func() { w.pass(time.Duration(1+r.IntN(6000)) * time.Millisecond) })
	}
	if b.jumps > 0 {
		add(2+4*is(w.theme, late), func() {
			b.jumps--
			if w.theme == late && r.IntN(3) > 0 {
				w.pass(lease + 2*time.Second)
				return
			}
			w.pass([]time.Duration{lease + 2*time.Second, maxDelay, maxRun + lease, horizon + maxDelay + lease, 11 * time.Minute}[r.IntN(5)])
		})
	}
	w.trouble(t, b, live, add)
	total := 0
	for _, p := range picks {
		total += p.weight
	}
	n := r.IntN(total)
	for _, p := range picks {
		if n -= p.weight; n < 0 {
			p.do()
			return
		}
	}
}

func (w *world) living() (live []*proc) {
	for _, p := range w.procs {
		if !p.dead {
			live = append(live, p)
		}
	}
	return live
}

// draw decides what becomes of an item.
func (w *world) draw(it *item, b *budget) fate {
	if len(it.fates) == 0 || b.faults <= 0 || w.rng.Float64() >= b.rate {
		return reach
	}
	f := it.fates[w.rng.IntN(len(it.fates))]
	if w.mild && (f == later || f == twice || f == forgotten || f == stopped || it.post || it.renew) {
		return reach
	}
	if f != slow {
		b.faults--
	}
	return f
}

// invite lets a process make a call, unless two of it wait for the same request.
func (w *world) invite(live []*proc) bool {
	r := w.rng
	p, target := live[r.IntN(len(live))], w.requests[r.IntN(len(w.requests))]
	same := 0
	for _, c := range w.calls {
		if c.p == p && c.r == target && !c.ended {
			same++
		}
	}
	if same >= 2 {
		return false
	}
	cents := 500
	if r.IntN(6) == 0 {
		cents = 999
	}
	pl := plan{heeds: r.IntN(2) == 0, idles: r.IntN(3) == 0, asks: r.IntN(2) == 0, dials: r.IntN(8) == 0, declined: r.IntN(5) == 0}
	if !w.mild {
		pl.ends = []ending{returns, returns, returns, returns, returns, panics, exits, lingers}[r.IntN(8)]
	}
	if w.theme == late {
		pl.ends, pl.heeds, pl.dials = []ending{lingers, lingers, returns}[r.IntN(3)], false, false
		pl.idles, pl.asks = r.IntN(2) == 0, false
	}
	w.begin(p, target, cents, pl)
	synctest.Wait()
	return true
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	if w.mild {
		// Nothing waits for long: what does goes first.
		for _, it := range w.sorted() {
			w.release(it, reach)
		}
	}
	w.say("time", "%s go by", d)
	time.Sleep(d)
	synctest.Wait()
}

// wake lets a zombie arrive, or loses it.
func (w *world) wake(n int, arrives bool) {
	w.mu.Lock()
	slices.SortStableFunc(w.zombies, func(a, b *zombie) int { return strings.Compare(a.name, b.name) })
	z := w.zombies[n]
	w.zombies = append(w.zombies[:n:n], w.zombies[n+1:]...)
	late := !z.until.IsZero() && time.Now().After(z.until)
	if late {
		arrives = false
	}
	w.logf("network", "%s arrives=%v", z.name, arrives)
	w.mu.Unlock()
	switch {
	case arrives:
		w.spawn(z.deliver)
	case z.drop != nil:
		z.drop()
	}
	synctest.Wait()
}

// jitter stands in for the guard's: it is decided by the moment alone, and so
// in the end by the seed.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	h := fnv.New64a()
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:], uint64(time.Now().UnixNano()))
	binary.LittleEndian.PutUint64(b[8:], uint64(d))
	_, _ = h.Write(b[:])
	return d/2 + time.Duration(h.Sum64()%uint64(d/2+1))
}
