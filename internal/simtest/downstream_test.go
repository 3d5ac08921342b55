package simtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
)

// mode is a policy with the downstream that it is declared for.
type mode int

const (
	plain       mode = iota // at-most-once; whatever arrives takes effect
	voided                  // at-most-once; a lookup that finds nothing forbids
	voidedAgain             // the same, and NeverWill runs it again
	quietly                 // at-most-once; a lookup that can only look, after a quiet period it runs again
	remembers               // safe-retry; one effect per key, a refused key stays refused
	forgets                 // safe-retry; one effect per key, a refused key may succeed later
	looked                  // safe-retry that forgets, and a lookup that can only look
	again                   // rerun
	transacted              // the effect is a row of the store
	modes       = iota
)

var modeNames = [...]string{"plain", "voided", "voided-again", "quiet", "remembers", "forgets", "looked", "rerun", "tx"}

func (m mode) name() string { return "sim." + modeNames[m] }

func (m mode) lookup() bool { return m == voided || m == voidedAgain || m == quietly || m == looked }

func (m mode) dedup() bool { return m == remembers || m == forgets || m == looked }

func (m mode) policy() onceguard.Policy {
	switch m {
	case remembers:
		return onceguard.SafeRetry(horizon, onceguard.RefusalsRemembered)
	case forgets, looked:
		return onceguard.SafeRetry(horizon, onceguard.RefusalsForgotten)
	case again:
		return onceguard.Rerun
	case transacted:
		return onceguard.Transactional
	}
	return onceguard.AtMostOnce
}

// order is what a caller asks for; paid is what the downstream says.
type order struct{ Cents int }

type paid struct {
	Effect int `json:"effect"`
	Cents  int `json:"cents"`
}

// request is one intended effect and the downstream's books about it.
type request struct {
	n         int
	mode      mode
	id        onceguard.RequestID
	forgotten bool // the store forgot a claim of it

	effects []onePaid
	first   map[string]time.Time // key: first arrival
	refused map[string]bool
	voided  map[string]bool
	burned  map[string]bool // voided, and a verdict that says so was stored
	waived  int             // orders to run again
	running int             // effects under way

	leaseEnd time.Time // of the present claim, by the store's clock
	evidence []expected
}

// onePaid is one effect that took place.
type onePaid struct {
	key   string
	cents int
	at    time.Time
}

func (r *request) String() string { return fmt.Sprintf("r%d(%s)", r.n, modeNames[r.mode]) }

// key is the order's number, the same on every retry.
func (r *request) key() onceguard.Key { return onceguard.KeyOf("order", fmt.Sprint(r.n)) }

var (
	errNoAnswer = errors.New("the downstream did not answer")
	errDeclined = errors.New("declined")
	errVoided   = errors.New("this key was voided")
)

// arrive is what the downstream does when a request reaches it. It needs the
// mutex. decline says that it would refuse a new order.
func (w *world) arrive(r *request, key string, cents int, decline bool) (paid, error) {
	now := time.Now()
	if r.voided[key] {
		return paid{}, errVoided
	}
	if r.mode.dedup() {
		// The key is remembered for longer than the horizon says, by the time
		// that a request may be on its way.
		if at, ok := r.first[key]; ok && now.Sub(at) <= horizon+maxDelay {
			for i, e := range r.effects {
				if e.key == key && now.Sub(e.at) <= horizon+maxDelay {
					return paid{i + 1, e.cents}, nil
				}
			}
			if r.mode == remembers && r.refused[key] {
				return paid{}, errDeclined
			}
		} else {
			r.first[key] = now
		}
	}
	if decline {
		r.refused[key] = true
		return paid{}, errDeclined
	}
	r.effects = append(r.effects, onePaid{key, cents, now})
	w.logf("downstream", "EFFECT %d of %s for %d", len(r.effects), r, cents)
	return paid{len(r.effects), cents}, nil
}

// lookup is what an action's Reconcile does, by its mode.
func (w *world) lookup(m mode) func(ctx context.Context, q onceguard.Query) (onceguard.Verdict[paid], error) {
	return func(ctx context.Context, q onceguard.Query) (v onceguard.Verdict[paid], err error) {
		a := ctx.Value(actorKey{}).(*actor)
		r := (&wire{p: a.p}).request(q.RequestID)
		name := a.p.String() + " " + a.name + " lookup " + r.String()
		f, ok := w.pause(a.p, name, ctx.Done(), slow, lostBefore)
		if !ok || f == lostBefore {
			return v, errNoAnswer
		}
		w.mu.Lock()
		v = w.look(r, m, q.DownstreamKey)
		w.logf(name, "%s", v.Finding)
		w.mu.Unlock()
		if f == slow {
			if _, ok := w.pause(a.p, name+" answer", ctx.Done()); !ok {
				return onceguard.Verdict[paid]{}, errNoAnswer
			}
		}
		return v, nil
	}
}

// look needs the mutex.
func (w *world) look(r *request, m mode, key string) onceguard.Verdict[paid] {
	if n := len(r.effects); n > 0 {
		return onceguard.Verdict[paid]{Finding: onceguard.Happened, Value: paid{n, r.effects[n-1].cents}, Reason: "found"}
	}
	if m == voided || m == voidedAgain {
		r.voided[key] = true // a mark that only grows: keys are never voided back
		return onceguard.Verdict[paid]{Finding: onceguard.NeverWill, Reason: "voided"}
	}
	return onceguard.Verdict[paid]{Finding: onceguard.NotSeen, Reason: "nothing found"}
}

func (w *world) action(m mode) onceguard.Action[order, paid] {
	a := onceguard.Action[order, paid]{
		Name: m.name(), Policy: m.policy(), RunAfterNeverWill: m == voidedAgain || m == quietly,
		Key: func(order) onceguard.Key { return onceguard.KeyOf("order", "0") },
	}
	if m.lookup() {
		a.Reconcile = w.lookup(m)
	}
	if m == quietly {
		a.QuietPeriod = quiet
	}
	return a
}
