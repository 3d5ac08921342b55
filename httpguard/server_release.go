package httpguard

import (
	"context"
	"sync/atomic"

	"github.com/onceguard/onceguard"
)

// running is what a guarded handler can reach through its context.
type running struct {
	attempt *onceguard.Attempt
	outcome atomic.Pointer[outcome]
}

// outcome is what a handler declares.
type outcome struct {
	class  onceguard.StatusClass
	reason string
}

type runningKey struct{}

func runningOf(ctx context.Context) *running {
	s, _ := ctx.Value(runningKey{}).(*running)
	return s
}

// Release says that the guarded handler which ctx belongs to has changed nothing
// and will not: its answer, whatever the status, goes to the client and is not
// stored, and the key may be used again, also with another body. It is for
// validation. The reason is kept in the log; it must hold no secrets.
//
// A panic of the handler outweighs it. Outside of a guarded handler it does
// nothing.
func Release(ctx context.Context, reason string) {
	SetOutcome(ctx, onceguard.StatusNotExecuted, reason)
}

// SetOutcome says how the guarded handler which ctx belongs to ends, whatever
// status it answers; the last call counts. Without one the status decides
// (Options.Classify). A panic outweighs both. The reason of a refusal is stored;
// it must hold no secrets. Outside of a guarded handler it does nothing.
func SetOutcome(ctx context.Context, class onceguard.StatusClass, reason string) {
	if s := runningOf(ctx); s != nil {
		s.outcome.Store(&outcome{class, reason})
	}
}

// Attempt returns the attempt that the guarded handler of ctx runs in, for its
// downstream key and checkpoints; false outside of a guarded handler.
func Attempt(ctx context.Context) (*onceguard.Attempt, bool) {
	if s := runningOf(ctx); s != nil {
		return s.attempt, true
	}
	return nil, false
}
