package ledger

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// When a fault strikes, relative to the effect.
const (
	Before = "before" // there is no effect
	After  = "after"  // there is one, unless the request was not applied anyway
)

// Mode is how one request is treated. Fields combine; they are looked at in this
// order: Slow, Hold, then the faults before the effect (SwallowRequest, Die,
// InProgress, Error), Dedup, voids, Refuse, the effect, then the faults after it
// (Die, HoldAnswer, SwallowAnswer, Error, AnswerTwice). The zero Mode applies
// every request and answers it.
//
// Slow and Hold stand for a slow network: the request counts as arrived and is
// decided when it goes on, even if nobody waits for the answer any more.
type Mode struct {
	Slow time.Duration `json:"slow_ns,omitempty"`
	Hold bool          `json:"hold,omitempty"` // until POST /release of its op after its arrival

	SwallowRequest bool   `json:"swallow_request,omitempty"` // close the connection, no effect
	Die            string `json:"die,omitempty"`             // Before or After: the process ends with DieStatus
	InProgress     bool   `json:"in_progress,omitempty"`     // 409, no effect
	Error          string `json:"error,omitempty"`           // Before or After: 500

	// Dedup answers a key that was applied before with the first effect, or
	// with 422 if the body is another one. Sticky does so for refusals as well.
	// Keys older than Forget are not known any more; 0 forgets none.
	Dedup  bool          `json:"dedup,omitempty"`
	Sticky bool          `json:"sticky,omitempty"`
	Forget time.Duration `json:"forget_ns,omitempty"`

	Refuse string `json:"refuse,omitempty"` // 402 with this reason, no effect

	HoldAnswer    bool `json:"hold_answer,omitempty"`    // decided, then kept like Hold
	SwallowAnswer bool `json:"swallow_answer,omitempty"` // close the connection instead of answering
	AnswerTwice   bool `json:"answer_twice,omitempty"`   // send the same response twice
}

// DieStatus is the exit status of a ledger that Mode.Die ended.
const DieStatus = 70

// Nth returns modes for a sequence of requests: the nth, from 1, is treated as
// fault says, all others as usual says.
func Nth(n int, usual, fault Mode) []Mode {
	modes := slices.Repeat([]Mode{usual}, max(n, 1)+1)
	modes[len(modes)-2] = fault
	return modes
}

func (m Mode) check() error {
	if m.Slow < 0 || m.Forget < 0 {
		return errors.New("slow_ns and forget_ns must not be negative")
	}
	for name, when := range map[string]string{"die": m.Die, "error": m.Error} {
		if when != "" && when != Before && when != After {
			return fmt.Errorf("%s is %q, want %q or %q", name, when, Before, After)
		}
	}
	if !m.Dedup && (m.Sticky || m.Forget > 0) {
		return errors.New("sticky and forget_ns say how dedup works: they need dedup")
	}
	return nil
}

// plan is a sequence of modes and how far it has been used. The last mode stays
// in force; no modes are the zero Mode.
type plan struct {
	modes []Mode
	used  int
}

func (p *plan) next() Mode {
	if len(p.modes) == 0 {
		return Mode{}
	}
	m := p.modes[min(p.used, len(p.modes)-1)]
	p.used++
	return m
}
