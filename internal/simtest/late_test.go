package simtest

import (
	"context"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// zombie is something on its way that nobody waits for.
type zombie struct {
	name    string
	until   time.Time // lost after that; zero: never
	deliver func()
	drop    func()
}

// leave lets an op go on without its sender.
func (w *world) leave(o *op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.zombies = append(w.zombies, &zombie{
		name: "zombie " + o.actor + " " + o.kind + " " + o.request.String(),
		deliver: func() {
			w.add("applied late")
			_, _ = w.apply(context.Background(), o, true)
		},
		drop: func() { w.book(o) },
	})
}

// forget crashes the store: visible writes that were not durable are gone.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	kept := w.journal[:0]
	lost := 0
	for _, e := range w.journal {
		if e.durable {
			kept = append(kept, e)
		} else {
			lost++
			if e.request != nil {
				e.request.forgotten = true
			}
			w.logf("store", "CRASHES and forgets: %s", e.what)
		}
	}
	w.journal = kept
	if lost == 0 {
		return
	}
	w.counts["forgotten by a crash of the store"] += lost
	w.db = memstore.New(memstore.Options{Now: w.now})
	if _, err := w.db.Secrets(context.Background(), w.secrets); err != nil {
		w.violate("harness", "secrets: %v", err)
	}
	for _, e := range w.journal {
		if !e.wrote && e.request != nil && e.request.forgotten {
			continue // what was refused beside a claim that is forgotten must not be granted now
		}
		w.replayAt = e.at
		e.do(context.Background(), w.db)
	}
	w.replayAt = time.Time{}
	for _, r := range w.requests {
		if r.forgotten {
			r.leaseEnd = w.recordLocked(r).LeaseUntil
		}
	}
}

// record reads a row past all faults.
func (w *world) record(r *request) onceguard.Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.recordLocked(r)
}

// recordLocked needs the mutex.
func (w *world) recordLocked(r *request) onceguard.Record {
	a, err := w.db.Get(context.Background(), []onceguard.RequestID{r.id})
	if err != nil {
		panic(fmt.Sprintf("the reference store does not read: %v", err))
	}
	return a[0].Record
}
