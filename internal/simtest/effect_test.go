package simtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// effect is what a call runs: one request to the downstream, with all that can
// become of it on the way and in this process.
func (c *call) effect(ctx context.Context, a *onceguard.Attempt) (paid, error) {
	w, r := c.p.w, c.r
	key := a.DownstreamKey()
	w.mu.Lock()
	w.entered(c, a.Number(), key)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		r.running--
	}()
	heard := ctx
	if !c.plan.heeds {
		heard = context.WithoutCancel(ctx)
	}
	if c.plan.idles {
		if _, ok := w.pause(c.p, c.String()+" before sending", heard.Done()); !ok {
			return paid{}, onceguard.NotExecuted(context.Cause(ctx)) // nothing was sent
		}
	}
	if c.plan.dials {
		return paid{}, onceguard.NotExecuted(errors.New("cannot dial"))
	}
	// Only then is a request sent at a time that the horizon and the quiet
	// period count on; at-most-once alone holds without it.
	if c.plan.asks || r.mode.dedup() || r.mode == quietly {
		if err := a.Ready(); err != nil {
			return paid{}, err
		}
	}
	v, err := c.post(heard, key)
	switch c.plan.ends {
	case panics:
		panic("a bug after sending")
	case exits:
		runtime.Goexit()
	case lingers:
		w.pause(c.p, c.String()+" lingers", heard.Done())
	}
	w.mu.Lock()
	w.logf(c.String(), "effect ends: %v %v", v, err)
	w.mu.Unlock()
	if errors.Is(err, errDeclined) || errors.Is(err, errVoided) {
		return paid{}, onceguard.Refused(err)
	}
	return v, err
}

// post sends the one request.
func (c *call) post(ctx context.Context, key string) (paid, error) {
	w, r := c.p.w, c.r
	sent := time.Now()
	timeout, cancel := context.WithTimeout(ctx, maxDelay)
	defer cancel()
	name := c.String() + " posts"
	f, ok := w.pause(c.p, name, timeout.Done(), slow, lostBefore, lostAfter, later)
	rest := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.zombies = append(w.zombies, &zombie{name: "zombie " + name, until: sent.Add(maxDelay), deliver: func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.counts["effect delivered late"]++
			_, _ = w.arrive(r, key, c.cents, false)
		}})
	}
	if !ok {
		rest()
		return paid{}, errNoAnswer
	}
	w.say(c.String(), "request on its way: %s", f)
	if f != lostBefore {
		w.mu.Lock()
		c.posted = true
		w.mu.Unlock()
	}
	switch f {
	case lostBefore:
		return paid{}, errNoAnswer
	case later:
		rest()
		return paid{}, errNoAnswer
	}
	w.mu.Lock()
	v, err := w.arrive(r, key, c.cents, c.plan.declined)
	w.mu.Unlock()
	switch f {
	case lostAfter:
		return paid{}, errNoAnswer
	case slow:
		if _, ok := w.pause(c.p, name+" answer", ctx.Done()); !ok {
			return paid{}, errNoAnswer
		}
	}
	return v, err
}

// row is the effect of a transactional call.
func (c *call) row(ctx context.Context, tx *memstore.Tx) (paid, error) {
	w := c.p.w
	w.mu.Lock()
	w.logf(c.String(), "writes its row")
	c.entered++
	w.mu.Unlock()
	tx.Put(c.rowName(), []byte("row"))
	if c.plan.idles {
		if _, ok := w.pause(c.p, c.String()+" in its transaction", ctx.Done()); !ok {
			return paid{}, ctx.Err()
		}
	}
	if c.plan.dials || c.plan.declined {
		return paid{}, errDeclined
	}
	if c.plan.ends == panics {
		panic("a bug inside the transaction")
	}
	return paid{c.n, c.cents}, nil
}

// rowName names the row that the call writes.
func (c *call) rowName() string { return fmt.Sprintf("%s by %s", c.r, c) }
