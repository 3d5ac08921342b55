package simtest

import (
	"testing"
	"testing/synctest"
	"time"
)

// trouble offers what processes, people and clocks do.
func (w *world) trouble(t *testing.T, b *budget, live []*proc, add func(int, func())) {
	r := w.rng
	if b.cancels > 0 && len(w.calls) > 0 {
		c := w.calls[r.IntN(len(w.calls))]
		add(1+2*is(w.theme, mild), func() {
			b.cancels--
			w.say(c.String(), "its caller goes away")
			c.cancel()
			synctest.Wait()
		})
	}
	if w.mild {
		return
	}
	if len(live) < 3 {
		add(2, func() { w.start(t) })
	}
	if len(live) == 0 {
		return
	}
	p := live[r.IntN(len(live))]
	if b.crashes > 0 {
		add(2, func() {
			b.crashes--
			w.crash(p)
		})
	}
	add(2+3*is(w.theme, late), func() { w.sweep(p) })
	target := w.requests[r.IntN(len(w.requests))]
	if target.mode.lookup() {
		add(4+8*is(w.theme, lookups), func() { w.reconcile(p) })
	}
	if b.operators > 0 && target.mode != transacted && target.mode != quietly {
		add(3+6*is(w.theme, late), func() {
			b.operators--
			w.operate(p, target, r.IntN(2+2*is(w.theme, late)) == 0)
		})
	}
	if b.prunes > 0 {
		add(1, func() {
			b.prunes--
			w.prune(p)
		})
	}
	if b.clocks > 0 {
		add(1, func() {
			b.clocks--
			w.setClock()
		})
	}
	w.mu.Lock()
	open := len(w.journal) > 0 && !w.journal[len(w.journal)-1].durable && w.tx == 0
	w.mu.Unlock()
	if open {
		add(4, w.forget)
	}
}

// setClock puts the store's clock on, or back where nothing counts on it: a
// horizon is judged by the store's clock, and one that is put back lengthens it.
func (w *world) setClock() {
	back := true
	for _, r := range w.requests {
		back = back && !r.mode.dedup()
	}
	d := time.Duration(5+w.rng.IntN(90)) * time.Second
	if back && w.rng.IntN(2) == 0 {
		d = -d
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
	w.counts["clock set"]++
	w.logf("store", "its clock is set by %s", d)
}
