package onceguard

import (
	"context"
	"errors"
	"time"

	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/mutant"
)

// errStillTrying is why a settle returned without an answer.
var errStillTrying = errors.New("the store did not take the outcome yet")

// settle sends an outcome until the store answers: it is idempotent by attempt
// and token, so sending it again is always right. It blocks for SettleWait;
// after that it goes on in the background and returns the last failure. The
// claim is kept throughout: an outcome that cannot be stored is no reason to
// let anybody run the effect again.
func (c *call) settle(ctx context.Context, s Settlement, raw any) (Answer, error) {
	ctx = context.WithoutCancel(ctx)
	fault.Point("guard.settle.before")
	a, err := c.tell(ctx, s)
	if err == nil {
		fault.Point("guard.settle.after")
		return a, nil
	}
	if mutant.On("release-on-settle-error") {
		s.Verb, s.Result = SettleReleased, Result{}
	}
	c.spool(ctx, s)
	type told struct {
		a   Answer
		err error
	}
	answered := make(chan told, 1)
	c.background.Go(func() {
		last := err
		for n := 1; c.backoff(nil, n); n++ {
			a, err := c.tell(ctx, s)
			if err == nil {
				c.unspool(s, a)
				answered <- told{a: a}
				return
			}
			last = err // a permanent failure too: somebody may mend it
		}
		answered <- told{err: last}
	})
	wait := time.NewTimer(c.opts.SettleWait)
	defer wait.Stop()
	select {
	case t := <-answered:
		fault.Point("guard.settle.after")
		return t.a, t.err
	case <-wait.C:
		return Answer{}, errors.Join(errStillTrying, err)
	}
}

func (c *core) tell(ctx context.Context, s Settlement) (Answer, error) {
	sctx, cancel := c.detached(ctx)
	defer cancel()
	answers, err := c.store.Settle(sctx, []Settlement{s})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		c.observe(ctx, Event{Kind: EventStoreRetry, RequestID: s.ID, Attempt: s.Attempt, Detail: "settle", Err: err})
		return Answer{}, err
	}
	return answers[0], nil
}
