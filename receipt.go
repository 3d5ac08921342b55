package onceguard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/onceguard/onceguard/internal/fault"
)

// Receipt is the durable record of one request as its caller sees it.
type Receipt[T any] struct {
	Value     T         // decoded from the stored bytes, on the first run too
	RequestID RequestID // who it belongs to: check it before you act on a stored "paid"
	Replayed  bool      // true: this call executed nothing
	State     State
	Attempt   int64
	SettledAt time.Time // store clock
	SettledBy string    // "owner", "reconciler", "operator:NAME", "import:NAME"
	Waived    bool      // a person ordered another run although an attempt was unknown
	Reason    string    // of a refusal or a person's decision
}

// Do runs fn at most once for the request and returns its receipt; a later
// call with the same scope, action and key returns the recorded outcome and
// runs nothing.
//
// fn runs on the caller's goroutine, and Do returns when it returns. Its
// context keeps ctx's values, not its cancellation: it ends when the lease is
// lost or MaxRun is over. ctx bounds what comes before the start and how long a
// duplicate waits.
//
// fn returns (value, nil) for success, NotExecuted(err) when surely nothing
// happened, (value, Refused(err)) for a definite refusal. Any other error and a
// panic are an unknown outcome: the request is not run again by itself unless
// the policy says how that is safe.
//
// Errors are *Error with a Code for errors.Is; each says whether the effect may
// have run. Not promised: a process paused between its last check and the first
// byte it sends can only be stopped by the downstream.
func Do[T any](ctx context.Context, g *Guard, r Request, fn func(ctx context.Context, a *Attempt) (T, error)) (Receipt[T], error) {
	c, err := g.prepare(ctx, r, reflect.TypeFor[T]())
	if err != nil {
		return Receipt[T]{}, err
	}
	if r.Policy.Kind == TransactionalKind {
		return Receipt[T]{}, c.fail(ErrInvalid, false, "the policy is transactional: use DoTx, whose effect gets the store's transaction", nil)
	}
	end, known := c.recall(ctx)
	if !known {
		c.effect = untyped(c, fn)
		end = c.do(ctx)
	}
	fault.Point("guard.answer.before")
	return receiptOf[T](ctx, c, end)
}

// untyped is the effect with its value in stored form.
func untyped[T any](c *call, fn func(ctx context.Context, a *Attempt) (T, error)) func(context.Context, *Attempt) (Result, any, error) {
	return func(ctx context.Context, a *Attempt) (Result, any, error) {
		v, err := fn(ctx, a)
		verb := verbOf(err)
		if err != nil && verb == SettleUnknown && c.classify != nil {
			if classified := c.classify(err); classified != nil {
				err, verb = classified, verbOf(classified)
			}
		}
		if verb == SettleSucceeded || (verb == SettleFailed && !reflect.ValueOf(&v).Elem().IsZero()) {
			return c.encode(a.k, v), v, err
		}
		return Result{Missing: BodyNotKept}, v, err
	}
}

// encode makes the stored form of a value. The effect has happened by now, so
// a value that cannot be stored costs the body, never the outcome.
func (c *call) encode(ring *keyring, v any) Result {
	typ := fmt.Sprintf("%s %T", c.codec.Name(), v)
	body, err := c.codec.Encode(v)
	if err != nil {
		return Result{Type: typ, Missing: BodyUnstorable}
	}
	whole := NewResult(typ, body)
	if len(body) > c.limits.MaxResult {
		return Result{Type: typ, Digest: whole.Digest, Missing: BodyTooLarge}
	}
	return ring.sealResult(c.claim.ID, typ, body)
}

// receiptOf answers from an ending's record.
func receiptOf[T any](ctx context.Context, c *call, end ending) (Receipt[T], error) {
	r := end.record
	out := Receipt[T]{RequestID: c.claim.ID, Replayed: end.replayed, State: r.State, Attempt: r.Attempt, SettledBy: r.SettledBy, Waived: r.Waived, Reason: r.Reason}
	if r.State.Final() {
		out.SettledAt = r.Since
	}
	if end.err != nil {
		if v, ok := end.raw.(T); ok && errors.Is(end.err, ErrUnsettled) {
			out.Value = v
		}
		return out, end.err
	}
	if err := c.load(ctx, r, &out.Value); err != nil {
		if v, ok := end.raw.(T); ok && !end.replayed && errors.Is(err, ErrNoResult) {
			out.Value = v // the owner need not lose what could not be kept
		}
		if r.State != Failed || !errors.Is(err, ErrNoResult) {
			return out, err
		}
	}
	if r.State == Failed {
		e := c.fail(ErrRefused, false, r.Reason, nil)
		e.State, e.Attempt, e.Since, e.SettledBy = r.State, r.Attempt, r.Since, r.SettledBy
		return out, e
	}
	return out, nil
}

// load decodes a final record's body into v.
func (c *call) load(ctx context.Context, r Record, v any) error {
	if r.Result.Missing != HasBody {
		return c.unreadable(r, ErrNoResult, "the result is "+r.Result.Missing.String(), nil)
	}
	if !r.Result.Intact() {
		return c.corrupt(ctx, r, "the stored result does not have its digest", nil)
	}
	ring, err := c.keys(ctx, false)
	if err != nil {
		return err
	}
	body, err := ring.openResult(c.claim.ID, r.Result)
	switch {
	case errors.Is(err, ErrKeyMissing):
		return err
	case err != nil:
		return c.corrupt(ctx, r, "the stored result does not decrypt under its own key", err)
	}
	if err := c.codec.Decode(body, v); err != nil {
		e := c.unreadable(r, ErrUndecodable, "", err)
		e.Value = bytes.Clone(body) // other replays share it
		return e
	}
	return nil
}

// unreadable is the error of a known outcome whose value cannot be had.
func (c *call) unreadable(r Record, code Code, reason string, cause error) *Error {
	e := c.fail(code, r.State == Succeeded, reason, cause)
	e.State, e.Attempt, e.Since, e.SettledBy = r.State, r.Attempt, r.Since, r.SettledBy
	return e
}

// corrupt raises the alarm. A copy in memory goes, so that the next call sees
// what the store has.
func (c *call) corrupt(ctx context.Context, r Record, detail string, cause error) error {
	c.replays.drop(c.claim.ID)
	ev := c.event(EventCorrupt, r)
	ev.Detail, ev.Err = detail, cause
	c.observe(ctx, ev)
	return c.unreadable(r, ErrCorrupt, "", cause)
}
