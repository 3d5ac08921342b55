package mcpcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// invalidParams is an error that the client is told as JSON-RPC -32602.
type invalidParams struct{ error }

// Do takes a guarded call through the ladder and returns what to answer. It
// returns when there is an answer or ctx ends; ctx stands for the client's
// presence. A call that was forwarded goes on without its client, and its
// outcome is stored. The slices in c must not change after the call.
func (g *Gate) Do(ctx context.Context, in Call, up Upstream) Reply {
	c, err := g.parse(in)
	if err != nil {
		return g.invalid(err)
	}
	var p plan
	if c.continues {
		p, err = g.round(ctx, c)
	} else {
		p, err = g.decide(ctx, c)
	}
	var bad invalidParams
	switch {
	case errors.As(err, &bad):
		return g.invalid(bad.error)
	case err != nil:
		return g.notRun(c, onceguard.Record{}, "the store did not answer: "+err.Error())
	case p.stop != nil:
		return *p.stop
	}
	return g.run(ctx, c, p, up)
}

// request is the guarded request of a call under a key.
func (g *Gate) request(c *call, key onceguard.Key) onceguard.Request {
	r := onceguard.Request{Action: c.action, Key: key, RawInput: c.says, Policy: c.how.Policy, Limits: c.how.Limits, Codec: onceguard.Raw}
	if c.continues {
		responses := c.responses
		if responses == "" {
			responses = "null"
		}
		r.RawInput = fmt.Appendf(nil, `{"arguments":%s,"inputResponses":%s}`, c.says, responses)
	}
	if n, ok := occurrence(key); ok && keptForEver(n) {
		r.Limits.IdentityRetention = onceguard.Forever // see chain
	}
	if c.how.Result == mcppolicy.ResultDigest || c.how.Result == mcppolicy.ResultSensitive && !g.sealed {
		r.Limits.MaxResult = 1 // leaves a receipt with a digest and no body
	}
	return r
}

// keepFor is how long the identity of the call's first occurrence is kept.
func (c *call) keepFor() time.Duration {
	if c.how.Limits.IdentityRetention != 0 {
		return c.how.Limits.IdentityRetention
	}
	return onceguard.DefaultIdentityRetention
}

// own is what this call itself learned from the upstream.
type own struct {
	reply Reply
	shape shape
}

// run brings a plan to the guard and waits for the answer while the client
// does.
func (g *Gate) run(ctx context.Context, c *call, p plan, up Upstream) Reply {
	done := make(chan Reply, 1)
	g.running.Enter()
	go func() {
		defer g.running.Leave()
		o, answered := &own{}, false
		defer func() {
			if answered {
				return
			}
			// A panic, or the end of the goroutine (recover returns nil then). The
			// guard has stored that nobody knows.
			g.opts.Log.ErrorContext(ctx, "onceguard: forwarding a tool call panicked", "tool", c.tool, "panic", fmt.Sprint(recover()))
			done <- g.uncertain(c, onceguard.Record{}, o)
		}()
		receipt, err := onceguard.Do(ctx, c.guard, g.request(c, p.key), func(ectx context.Context, a *onceguard.Attempt) ([]byte, error) {
			return g.forward(ectx, ctx, c, a, up, o)
		})
		reply := g.answer(ctx, c, p, receipt, err, o)
		answered = true
		done <- reply
	}()
	var late <-chan time.Time
	if c.how.AnswerWithin > 0 {
		t := time.NewTimer(c.how.AnswerWithin)
		defer t.Stop()
		late = t.C
	}
	select {
	case r := <-done:
		return r
	case <-late:
	case <-ctx.Done():
	}
	select {
	case r := <-done:
		return r
	default:
		id, _ := onceguard.NewRequestID(c.guard.Scope(), c.action, p.key)
		return g.inFlight(c, onceguard.Record{ID: id, State: onceguard.Claimed}, onceguard.DefaultLease/2)
	}
}

// forward is the effect: it sends the call on, and says what the answer means.
func (g *Gate) forward(ctx, client context.Context, c *call, a *onceguard.Attempt, up Upstream, o *own) ([]byte, error) {
	if c.how.Identity.Business() {
		if err := a.Checkpoint(ctx, compact(g.saidMark(c))); err != nil {
			return nil, onceguard.NotExecuted(err)
		}
	}
	params, header, err := g.outgoing(c, a)
	if err != nil {
		return nil, err
	}
	if c.how.CancelSafe {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(client, func() { cancel(context.Cause(client)) })()
	}
	if err := a.Ready(); err != nil {
		return nil, err
	}
	r, said := up(ctx, params, header)
	if said != nil && r.Result == nil && r.Error == nil {
		return nil, said
	}
	taskID := ""
	if r.Result != nil {
		o.shape, taskID = shapeOf(r.Result)
	}
	switch { // what is no JSON never goes to a client
	case o.shape == shapeBroken, r.Error != nil && !json.Valid(r.Error):
	default:
		o.reply = Reply{Result: r.Result, Error: r.Error}
	}
	switch o.shape {
	case shapeTask:
		m := mark{Mark: markTask, Task: g.secret.hex("task", taskID), Handle: r.Result}
		g.keep(ctx, c, a, m)
	case shapeInput:
		if busy(r.Result) {
			break
		}
		state, has := text(field(r.Result, "requestState"))
		g.keep(ctx, c, a, mark{Mark: markAwaiting, State: g.stateOf(has, state)})
	}
	value, means := outcome(r, o.shape, c.how.IsError)
	if said != nil && (r.Error != nil || o.shape == shapeError) {
		return r.Result, said // the result is kept where said is a refusal
	}
	return value, means
}

// keep stores a mark of the attempt. A mark that is lost costs comfort, not
// safety: the receipt then stays uncertain, or the round counts as one of a
// question that nobody knows.
func (g *Gate) keep(ctx context.Context, c *call, a *onceguard.Attempt, m mark) {
	err := g.again(ctx, func() error { return a.Checkpoint(ctx, compact(m)) })
	if err != nil {
		g.opts.Log.WarnContext(ctx, "onceguard: what a tool answered could not be noted", "tool", c.tool, "request_id", a.RequestID().String(), "mark", m.Mark, "error", err)
	}
}
