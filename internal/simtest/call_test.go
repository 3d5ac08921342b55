package simtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// ending is how an effect leaves its function.
type ending int

const (
	returns ending = iota
	panics
	exits   // runtime.Goexit
	lingers // for as long as the scheduler likes
)

// plan is what a call's effect will do, drawn when the call is.
type plan struct {
	heeds    bool // its context's end
	idles    bool // before it sends
	asks     bool // Attempt.Ready before it sends
	dials    bool // in vain: nothing is sent
	declined bool // the downstream refuses, if this is a new order there
	ends     ending
}

// call is one Do of one process.
type call struct {
	n      int
	p      *proc
	r      *request
	cents  int
	plan   plan
	ctx    context.Context
	cancel context.CancelFunc

	ended, crashed bool
	entered        int  // how often the effect started
	posted         bool // it sent a request
	err            error

	token onceguard.Token // of the latest claim that was granted to this call
	sent  time.Time       // when that claim was sent, by this process's clock
}

func (c *call) String() string { return fmt.Sprintf("%s c%02d", c.p, c.n) }

// begin lets a process make a call.
func (w *world) begin(p *proc, r *request, cents int, pl plan) *call {
	w.mu.Lock()
	c := &call{n: len(w.calls) + 1, p: p, r: r, cents: cents, plan: pl}
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), actorKey{}, &actor{p: p, call: c}))
	w.calls = append(w.calls, c)
	w.logf(c.String(), "calls %s for %d %+v", r, cents, pl)
	w.mu.Unlock()
	w.spawn(func() {
		defer c.cancel()
		req, err := w.action(r.mode).Request(order{cents})
		if err != nil {
			panic(err)
		}
		req.Key = r.key()
		var rec onceguard.Receipt[paid]
		returned := false
		defer func() {
			what := recover() // a planned panic of the effect, or a bug of the guard
			if what != nil && c.plan.ends != panics {
				panic(what)
			}
			if !returned {
				w.mu.Lock()
				c.ended = true
				w.mu.Unlock()
				return
			}
			w.returned(c, rec, err)
		}()
		if r.mode == transacted {
			rec, err = onceguard.DoTx(c.ctx, p.guard, req, func(ctx context.Context, tx *memstore.Tx) (paid, error) { return c.row(ctx, tx) })
		} else {
			rec, err = onceguard.Do(c.ctx, p.guard, req, c.effect)
		}
		returned = true
	})
	return c
}

// returned checks what a caller is told at the moment that it is told.
func (w *world) returned(c *call, rec onceguard.Receipt[paid], err error) {
	stored := w.record(c.r)
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.p.dead {
		return // nobody hears it
	}
	c.ended, c.err = true, err
	var e *onceguard.Error
	errors.As(err, &e)
	switch {
	case err == nil:
		w.logf(c.String(), "gets %+v replayed=%v", rec.Value, rec.Replayed)
		if rec.Replayed {
			w.counts["replay"]++
			if c.entered > 0 && c.r.mode != again && !c.r.mode.dedup() && c.r.waived == 0 {
				w.counts["told another's receipt after running"]++
			}
		}
		w.receipt(c, rec, stored)
	case e == nil:
		w.violate("C2", "%s got an error that is not the guard's: %v", c, err)
	default:
		w.logf(c.String(), "gets %s (may have run: %v)", e.Code, e.MayHaveRun)
		w.refused(c, e, stored)
	}
}

// receipt: whatever a caller is told is the stored receipt, is durable, and is
// about what the caller asked for.
func (w *world) receipt(c *call, rec onceguard.Receipt[paid], stored onceguard.Record) {
	var kept paid
	switch {
	case stored.State != onceguard.Succeeded:
		w.violate("C2", "%s got a receipt of %s while the store has it as %s", c, c.r, stored.State)
		return
	case stored.Pruned:
	case json.Unmarshal(stored.Result.Body, &kept) != nil || kept != rec.Value:
		w.violate("C2", "%s got %+v, the store has %s", c, rec.Value, stored.Result.Body)
	}
	if rec.Value.Cents != c.cents {
		w.violate("C2", "%s asked for %d and got a receipt for %d", c, c.cents, rec.Value.Cents)
	}
}

func (w *world) refused(c *call, e *onceguard.Error, stored onceguard.Record) {
	switch e.Code {
	case onceguard.ErrRefused:
		if stored.State != onceguard.Failed {
			w.violate("C2", "%s was told that %s is refused while the store has it as %s", c, c.r, stored.State)
		}
	case onceguard.ErrNotRun, onceguard.ErrMismatch, onceguard.ErrExpired, onceguard.ErrFrozen, onceguard.ErrKeyMissing:
		if c.posted && !e.MayHaveRun && e.Code != onceguard.ErrMismatch {
			w.violate("C2", "%s was told %s, and its effect had started", c, e.Code)
		}
	case onceguard.ErrNotExecuted:
		// It speaks of the last attempt. One before, superseded, may have sent
		// its request: then the error says that too.
		if c.posted && !e.MayHaveRun {
			w.violate("C3", "%s was told that nothing happened, and it had sent a request", c)
		}
	case onceguard.ErrUncertain:
		w.counts["told uncertain"]++
	case onceguard.ErrCorrupt, onceguard.ErrUndecodable:
		w.violate("C2", "%s: %v", c, e)
	}
}

// assist runs a helper of a process: a sweep, a pass of the reconciler, an
// operator's decision, a prune.
func (w *world) assist(p *proc, name string, f func(ctx context.Context)) {
	w.mu.Lock()
	w.helpers++
	name = fmt.Sprintf("%s %02d", name, w.helpers)
	w.logf(p.String()+" "+name, "begins")
	w.mu.Unlock()
	ctx := context.WithValue(p.ctx, actorKey{}, &actor{p: p, name: name})
	w.spawn(func() { f(ctx) })
}

func (w *world) sweep(p *proc) {
	w.assist(p, "sweeper", func(ctx context.Context) { _, _ = p.sweeper.Sweep(ctx) })
}

func (w *world) prune(p *proc) {
	w.assist(p, "prune", func(ctx context.Context) { _, _ = p.sweeper.Prune(ctx, false) })
}

func (w *world) reconcile(p *proc) {
	w.assist(p, "reconciler", func(ctx context.Context) { _, _ = p.reconciler.Once(ctx) })
}

// operate is a person who reads the record and the downstream's books, and
// decides. What is still on its way the person cannot see.
func (w *world) operate(p *proc, r *request, daring bool) {
	w.assist(p, "operator", func(ctx context.Context) {
		answers, err := p.guard.Store().Get(ctx, []onceguard.RequestID{r.id})
		if err != nil || answers[0].Record.State != onceguard.Uncertain {
			return
		}
		d := onceguard.Resolution{ID: r.id, Attempt: answers[0].Record.Attempt, By: "ada", Reason: "looked it up"}
		w.mu.Lock()
		switch n := len(r.effects); {
		case n > 0:
			d.Verdict = onceguard.ResolveHappened
			body, _ := json.Marshal(paid{n, r.effects[n-1].cents})
			d.Result = onceguard.Result{Body: body, Type: "json simtest.paid"}
		case daring:
			d.Verdict = onceguard.ResolveRunAgain
		default:
			d.Verdict = onceguard.ResolveRefused
		}
		w.mu.Unlock()
		_, _ = p.guard.Resolve(ctx, d)
	})
}
