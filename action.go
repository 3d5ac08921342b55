package onceguard

import (
	"context"
	"fmt"
	"time"
)

// Action is one named kind of irreversible effect, declared once and used
// everywhere.
type Action[In, Out any] struct {
	// Name is identity: never change it. "refund.create"
	Name string
	// Key says which effect an input asks for; the same on every retry.
	Key func(In) Key
	// Run is the effect.
	Run func(ctx context.Context, a *Attempt, in In) (Out, error)

	Policy Policy
	Limits Limits
	// Identity narrows what of the input counts for a mismatch. Nil: all of it.
	Identity func(In) any
	// Classify turns undeclared errors into NotExecuted or Refused.
	Classify func(error) error
	// KeepInput stores the input for Reconcile.
	KeepInput bool
	// Sensitive keeps results out of the guard's replay cache.
	Sensitive bool

	// Reconcile asks the outside world what became of an uncertain request. It
	// runs in any process, long after; it may be called several times at once.
	Reconcile func(ctx context.Context, q Query) (Verdict[Out], error)
	// RunAfterNeverWill: NeverWill releases the request for a fresh run under a
	// new downstream key, instead of settling it as failed.
	RunAfterNeverWill bool
	// QuietPeriod opts in to NotSeen becoming NeverWill once the reconciler
	// itself has watched the request stay uncertain for lease + MaxRun +
	// QuietPeriod. It is a timing assumption: a request delayed for longer in
	// the network would still happen. Zero: NotSeen settles nothing.
	QuietPeriod time.Duration
}

// Do runs the action for in, at most once per key. See the function Do.
func (a Action[In, Out]) Do(ctx context.Context, g *Guard, in In) (Receipt[Out], error) {
	r, err := a.Request(in)
	if err != nil {
		return Receipt[Out]{}, &Error{Code: ErrInvalid, Action: a.Name, Err: err}
	}
	if a.Run == nil {
		return Receipt[Out]{}, &Error{Code: ErrInvalid, Action: a.Name, Reason: "the action has no Run function"}
	}
	return Do(ctx, g, r, func(ctx context.Context, at *Attempt) (Out, error) { return a.Run(ctx, at, in) })
}

// Request is the request that Do makes of in, for DoTx and Guard.Preview.
func (a Action[In, Out]) Request(in In) (Request, error) {
	if a.Key == nil {
		return Request{}, fmt.Errorf("action %q has no Key function; without a key nothing protects a retry", a.Name)
	}
	r := Request{
		Action: a.Name, Key: a.Key(in), Input: in, Policy: a.Policy, Limits: a.Limits,
		Classify: a.Classify, RunAfterNeverWill: a.RunAfterNeverWill, Sensitive: a.Sensitive,
	}
	if a.Identity != nil {
		r.Input = a.Identity(in)
	}
	if a.KeepInput {
		r.Keep = in
	}
	return r, nil
}
