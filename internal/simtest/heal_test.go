package simtest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
)

// heal ends all trouble: nothing is lost any more, what is on its way arrives
// or is lost for good, and everybody gets time to finish.
func (w *world) heal(t *testing.T) {
	w.healing = true
	w.say("time", "HEALS")
	p := w.start(t)
	w.settleDown(500)
	for range 3 { // for what goes on in the background
		w.pass(time.Second)
		w.settleDown(20)
	}
	if !w.mild {
		for range 3 {
			w.pass(lease + time.Second)
			w.sweep(p)
			w.reconcile(p)
			w.settleDown(60)
		}
	}
	for _, r := range w.requests {
		for range 8 { // attempts left by takeover, and a lookup in between
			w.begin(p, r, w.first(r), plan{heeds: true})
			w.settleDown(120)
			if rec := w.record(r); rec.State.Final() || rec.State == onceguard.Uncertain && !r.mode.lookup() {
				break
			}
			w.pass(lease + time.Second)
			for range 8 {
				if !r.mode.lookup() || w.record(r).State != onceguard.Uncertain {
					break
				}
				w.reconcile(p)
				w.settleDown(60)
				w.pass(30 * time.Second)
			}
		}
		w.begin(p, r, w.first(r), plan{heeds: true})
		w.settleDown(60)
	}
	w.mu.Lock()
	for _, c := range w.calls {
		if !c.ended {
			w.violate("C6", "%s did not end, long after everything was healed", c)
		}
	}
	stuck := w.open
	w.mu.Unlock()
	if stuck > 0 { // the bubble must end all the same
		for _, p := range w.procs {
			if !p.dead {
				w.crash(p)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
	}
	for _, p := range w.procs {
		p.stop()
		p.shut()
	}
}

// settleDown lets everything that waits go on, until nothing does.
func (w *world) settleDown(rounds int) {
	for n := 0; n < rounds; n++ {
		synctest.Wait() // before the step's number changes, or what runs could log under either
		w.tick()
		for {
			items := w.sorted()
			if len(items) == 0 {
				break
			}
			w.release(items[w.rng.IntN(len(items))], reach)
		}
		w.mu.Lock()
		zombies, open := len(w.zombies), w.open
		w.mu.Unlock()
		switch {
		case zombies > 0:
			w.wake(w.rng.IntN(zombies), w.rng.IntN(2) == 0)
		case open == 0:
			return
		default:
			time.Sleep(time.Duration(1+n) * 20 * time.Millisecond)
		}
	}
}

// first is the input that the record has, or the usual one.
func (w *world) first(r *request) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	cents := 500
	for _, o := range w.ops {
		if o.request == r && o.applied && o.answer.Outcome == onceguard.Granted && o.caller != nil {
			cents = o.caller.cents
		}
	}
	return cents
}

// shut closes the guard: its background work ends.
func (p *proc) shut() {
	ctx, cancel := expired()
	defer cancel()
	_ = p.guard.Close(ctx)
}
