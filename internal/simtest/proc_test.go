package simtest

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
)

// start makes a process with a guard on the store.
func (w *world) start(t testing.TB) *proc {
	p := &proc{w: w, n: len(w.procs) + 1}
	p.ctx, p.stop = context.WithCancel(context.WithValue(context.Background(), actorKey{}, &actor{p: p}))
	g, err := onceguard.New(p.ctx, &wire{p: p}, onceguard.Options{
		Limits:       onceguard.Limits{Lease: lease, MaxRun: maxRun, Wait: 20 * time.Second, ResultRetention: 10 * time.Minute},
		StoreTimeout: storeTimeout, SettleWait: settleWait, Process: p.String(), Observer: silent{},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.guard = g
	p.sweeper = g.Sweeper(onceguard.SweeperOptions{Limit: 100})
	var actions []onceguard.Reconcilable
	seen := map[string]bool{}
	for _, r := range w.requests {
		if r.mode.lookup() && !seen[r.mode.name()] {
			seen[r.mode.name()] = true
			actions = append(actions, w.action(r.mode))
		}
	}
	p.reconciler, err = g.Reconciler(onceguard.ReconcilerOptions{Timeout: 8 * time.Second, MaxBackoff: 20 * time.Second}, actions...)
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.procs = append(w.procs, p)
	w.logf(p.String(), "starts")
	w.mu.Unlock()
	return p
}

// crash ends a process: whatever it waits for never comes, and what it still
// does in memory reaches nobody.
func (w *world) crash(p *proc) {
	w.mu.Lock()
	p.dead = true
	w.counts["crash"]++
	w.logf(p.String(), "CRASHES")
	for _, c := range w.calls {
		if c.p == p && !c.ended {
			c.ended, c.crashed = true, true
		}
	}
	w.mu.Unlock()
	for _, it := range w.sorted() {
		if it.p == p {
			w.release(it, dead)
		}
	}
	p.stop()
	synctest.Wait()
}

type silent struct{}

func (silent) Observe(context.Context, onceguard.Event) {}

// actor says, in a context, for whom a store call or a request is made.
type actor struct {
	p    *proc
	call *call  // nil: a helper
	name string // of a helper
}

type actorKey struct{}

func who(ctx context.Context, p *proc) (*call, string) {
	a, _ := ctx.Value(actorKey{}).(*actor)
	switch {
	case a == nil:
		return nil, p.String() + " timer"
	case a.call != nil:
		return a.call, a.call.String()
	}
	return nil, p.String() + " " + a.name
}
