package onceguard

import (
	"context"
	"errors"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// call is one Do on its way: the identity, what is declared, and the effect in
// untyped form.
type call struct {
	*core
	claim    Claim // without Owner
	key      Key
	kind     fingerprintKind
	meaning  []byte // canonical bytes that the fingerprint covers
	limits   Limits
	codec    Codec
	classify func(error) error
	// sensitive keeps the result out of the replay cache.
	sensitive bool
	// effect runs on the caller's goroutine. raw is its value, kept for
	// ErrUnsettled and for results that cannot be stored.
	effect func(ctx context.Context, a *Attempt) (result Result, raw any, err error)
	// transact, instead of effect, is one try of T11.
	transact func(ctx context.Context, claim Claim) (Answer, error)
}

// ending is what a call came to: a record to answer from, or an error.
type ending struct {
	record   Record
	replayed bool
	raw      any
	err      error
	// shared says that followers in this process get the same error: the store
	// did not answer, and asking again for each of them would not help.
	shared bool
}

// fail builds the call's error.
func (c *call) fail(code Code, mayHaveRun bool, reason string, cause error) *Error {
	return &Error{
		Code: code, RequestID: c.claim.ID, Scope: c.claim.Scope, Action: c.claim.Action, Key: c.key.String(), Store: c.name,
		MayHaveRun: mayHaveRun, Reason: reason, Err: cause,
	}
}

func (c *call) event(k EventKind, r Record) Event {
	return Event{Kind: k, RequestID: c.claim.ID, Scope: c.claim.Scope, Action: c.claim.Action, Attempt: r.Attempt, State: r.State}
}

// do leads or joins until there is an ending.
func (c *call) do(ctx context.Context) ending {
	c.claim.IssuedAt, _ = c.key.IssuedAt()
	wait, cancel := c.waiting(ctx)
	defer cancel()
	for {
		fl, leader := c.flights.join(c.claim.ID)
		if leader {
			return c.lead(ctx, wait, fl)
		}
		if end, ok := c.follow(ctx, wait, fl); ok {
			return end
		}
	}
}

// waiting is the context that bounds how long a duplicate waits.
func (c *call) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	switch _, has := ctx.Deadline(); {
	case c.limits.Wait < 0:
		w, cancel := context.WithCancel(ctx)
		cancel()
		return w, cancel
	case c.limits.Wait > 0:
		return context.WithTimeout(ctx, c.limits.Wait)
	case has:
		return context.WithCancel(ctx)
	default:
		return context.WithTimeout(ctx, DefaultWait)
	}
}

// follow waits for the leader of this process. ok is false when the leader's
// ending says nothing for this caller, which then goes itself.
func (c *call) follow(ctx, wait context.Context, fl *flight) (end ending, ok bool) {
	c.observe(ctx, c.event(EventWaiting, Record{State: Claimed}))
	select {
	case <-fl.done:
	case <-fl.known:
	case <-wait.Done():
	}
	// Several may be ready; what is known goes before "in progress".
	rec := Record{State: Claimed}
	select {
	case <-fl.known:
		rec = fl.record
		if match, known := rec.matches(c.claim); known && !match && !isDone(fl.done) {
			return c.mismatch(ctx), true
		}
	default:
	}
	select {
	case <-fl.done:
	case <-wait.Done():
	}
	if isDone(fl.done) {
		return c.share(ctx, fl)
	}
	return ending{record: rec, err: c.inProgress(ctx, rec, c.limits.Lease)}, true
}

func isDone(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// share turns the leader's ending into this caller's.
func (c *call) share(ctx context.Context, fl *flight) (ending, bool) {
	end := fl.end
	if end.shared {
		return ending{err: end.err, shared: true}, true
	}
	r := end.record
	if r.State != Uncertain && !r.State.Final() {
		return ending{}, false
	}
	if match, known := r.matches(c.claim); !known {
		return ending{}, false // the store decides, with a fresh keyring
	} else if !match && !mutant.On("join-without-input") {
		return c.mismatch(ctx), true
	}
	if r.State == Uncertain {
		return ending{record: r, err: c.uncertain(ctx, r, nil)}, true
	}
	return c.replay(ctx, r), true
}

// replay answers from a final record.
func (c *call) replay(ctx context.Context, r Record) ending {
	c.observe(ctx, c.event(EventReplayed, r))
	return ending{record: r, replayed: true}
}

func (c *call) mismatch(ctx context.Context) ending {
	c.observe(ctx, c.event(EventMismatch, Record{}))
	return ending{err: c.fail(ErrMismatch, false, "", nil)}
}

func (c *call) inProgress(ctx context.Context, r Record, left time.Duration) error {
	e := c.fail(ErrInProgress, true, "", nil)
	e.State, e.Attempt, e.Since, e.RetryAfter = Claimed, r.Attempt, r.Since, max(left, time.Second)
	if ctx.Err() != nil {
		e.Err = context.Cause(ctx)
	}
	return e
}

func (c *call) uncertain(ctx context.Context, r Record, cause error) error {
	ev := c.event(EventUncertain, r)
	ev.Detail, ev.Err = r.Reason, cause
	c.observe(ctx, ev)
	e := c.fail(ErrUncertain, true, r.Reason, cause)
	e.State, e.Attempt, e.Since = r.State, r.Attempt, r.Since
	return e
}

// errNested is the cause of a request that waits for itself.
var errNested = errors.New("this call is inside the effect of the same request; it would wait for itself")

type nestKey struct{}

// nest remembers the chain of requests whose effects enclose ctx.
type nest struct {
	id    RequestID
	outer *nest
}

func enclosed(ctx context.Context, id RequestID) bool {
	n, _ := ctx.Value(nestKey{}).(*nest)
	for ; n != nil; n = n.outer {
		if n.id == id {
			return true
		}
	}
	return false
}

func enclose(ctx context.Context, id RequestID) context.Context {
	outer, _ := ctx.Value(nestKey{}).(*nest)
	return context.WithValue(ctx, nestKey{}, &nest{id, outer})
}
