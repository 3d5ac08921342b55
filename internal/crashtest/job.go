package crashtest

import (
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
)

// Job is what a worker does. It comes as JSON on the worker's standard input;
// further calls may follow it there, until the end of the input.
type Job struct {
	Store   string // sqlite:PATH or postgres://…
	Ledger  string // host:port
	History string // file to append to
	Calls   []Call
	// Parallel bounds how many Calls run at once; 0: all of them.
	Parallel int
	// Ask says which requests the reconciler asks about, after Calls.
	Ask   []Question
	Sweep bool // after that
	Prune bool // after that

	Lease, MaxRun, Wait      time.Duration // of the guard; 0: DefaultLease, or the guard's own
	StoreTimeout, SettleWait time.Duration
	ResultRetention          time.Duration
	IdentityRetention        time.Duration
	Horizon                  time.Duration // of safe-retry; 0: an hour
	Spool                    string
	// Process is the identity that goes with claims; "" is the worker's own,
	// by which others on this machine see it die.
	Process string
	// Lookup is how the lookup asks: "" voids the key, so that it always has a
	// verdict; "see" only looks.
	Lookup string
	// Clock is a file with a Go duration that the store's clock is ahead
	// (SQLite only); empty: none.
	Clock string
	// Continue is pgstore's OnFailover.
	Continue bool
	// Reserve is sqlitestore's; 0 means none here.
	Reserve int64
}

// DefaultLease is the lease of crash tests: short, and long enough that a busy
// machine does not end it by accident.
const DefaultLease = 800 * time.Millisecond

// Call is one caller, or several.
type Call struct {
	Op     string // names the effect at the ledger, and the request unless Key does
	Key    string
	Policy string // one of Policies
	Amount int    // the input
	Copies int    // callers at once; 0 is one
	// Effect is what goes wrong inside the effect itself, after the ledger has
	// answered unless noted: "panic", "goexit", "exit", "stop-before-send"
	// (SIGSTOP between the last check and the first byte).
	Effect string
	// Heed lets the effect give its request up when its context ends. The
	// default is the worst that an effect can be, and leaves what comes of a
	// request to the ledger alone.
	Heed bool
	// Body is the size of the result, in bytes.
	Body int
	// Cancel ends the caller's context: "before" the call, "sent" right before
	// the effect sends its request.
	Cancel string
	Wait   time.Duration // of this call; 0: the job's
}

// Question names a request.
type Question struct{ Policy, Request string }

// EffectTable makes the table of transactional effects; the row is the effect.
const EffectTable = "CREATE TABLE IF NOT EXISTS crashtest_effect (op TEXT NOT NULL)"

// Request is the name under which the request is known to the store.
func (c Call) Request() string {
	if c.Key != "" {
		return c.Key
	}
	return c.Op
}

// Policies lists the policies of the crash table, in its order.
var Policies = []string{AtMostOnce, WithLookup, SafeRetry, Rerun, Transactional}

// Names of policies in jobs and in docs/faults.md.
const (
	AtMostOnce    = "at-most-once"
	WithLookup    = "with lookup"
	SafeRetry     = "safe-retry"
	SafeForgetful = "safe-retry, refusals forgotten"
	Rerun         = "rerun"
	Transactional = "transactional"
)

// Policy returns what the name stands for.
func Policy(name string, horizon time.Duration) (onceguard.Policy, error) {
	if horizon == 0 {
		horizon = time.Hour
	}
	switch name {
	case AtMostOnce, WithLookup:
		return onceguard.AtMostOnce, nil
	case SafeRetry:
		return onceguard.SafeRetry(horizon, onceguard.RefusalsRemembered), nil
	case SafeForgetful:
		return onceguard.SafeRetry(horizon, onceguard.RefusalsForgotten), nil
	case Rerun:
		return onceguard.Rerun, nil
	case Transactional:
		return onceguard.Transactional, nil
	}
	return onceguard.Policy{}, fmt.Errorf("no policy is called %q", name)
}

// ActionName is the action under which requests of a policy run. Each policy
// has its own, so that only one of them has a lookup.
func ActionName(policy string) string {
	switch policy {
	case WithLookup:
		return "pay.lookup"
	case SafeForgetful:
		return "pay.safe-forgetful"
	}
	return "pay." + policy
}

// RequestID is the identity of a request in the store.
func RequestID(policy, request string) (onceguard.RequestID, error) {
	return onceguard.NewRequestID("default", ActionName(policy), Key(request))
}

// Key is the key of a request.
func Key(request string) onceguard.Key { return onceguard.KeyOf("order", request) }

// Paid is the effect's result.
type Paid struct {
	Effect string `json:"effect"` // the ledger's ID; of a transactional effect its row
	Body   string `json:"body,omitempty"`
}
