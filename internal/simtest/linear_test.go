package simtest

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceguard/onceguard"
)

// asked and heard are one call of the store as porcupine sees it.
type asked struct {
	in input
	at int64 // by the store's clock
}

type heard struct {
	lost bool // no answer: it may have been applied then, later, or never
	said said
}

// register is the specification of one request. A call whose answer was lost
// leaves both open: applied and not applied.
var register = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{spec{}} },
	Step: func(state, in, out any) []any {
		q, h := in.(asked), out.(heard)
		next, want := state.(spec).next(q.in, q.at)
		switch {
		case h.lost && next == state.(spec):
			return []any{state}
		case h.lost:
			return []any{state, next}
		case h.said == want:
			return []any{next}
		}
		return nil
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v -> %+v", in, out)
	},
}).ToModel()

// The search of porcupine is exponential in the lost answers. It is spared
// where the order in which the store carried the calls out explains what was
// heard, which is proof enough; then it looks at every sampled history that is
// not too long, so that the two are compared.
const (
	mostCalls = 80
	mostLost  = 14
	sampled   = 8
)

// checkLinear is C4: there is one order of all calls about the request, lost
// answers in either truth, that the specification allows. It needs the mutex.
func (w *world) checkLinear(r *request) {
	wrong := w.witness(r)
	if wrong == "" && w.seed%sampled != 0 {
		w.counts["histories explained by their own order"]++
		return
	}
	var history []porcupine.Operation
	lost := 0
	for i, o := range w.ops {
		if o.request != r {
			continue
		}
		p := porcupine.Operation{ClientId: i, Input: asked{o.in, stamp(o.at)}, Call: int64(o.call) * 2, Return: math.MaxInt64}
		if o.ret > 0 {
			p.Return = int64(o.ret)*2 + 1
			a := o.answer
			h := heard{said: said{a.Outcome, a.Record.State, a.Record.Attempt}}
			if a.Outcome == onceguard.Mismatched || a.Outcome == onceguard.Missing {
				h.said = said{outcome: a.Outcome}
			}
			p.Output = h
		} else {
			if o.kind == "get" {
				continue
			}
			p.Output = heard{lost: true}
			lost++
		}
		history = append(history, p)
	}
	limit := 5 * time.Second
	switch {
	case wrong != "":
		limit = time.Second // another order may still explain it; not found is not there
	case len(history) > mostCalls || lost > mostLost:
		w.counts["histories too long for porcupine"]++
		return
	}
	switch result := porcupine.CheckOperationsTimeout(register, history, limit); {
	case result == porcupine.Ok:
		w.counts["histories checked by porcupine"]++
	case result == porcupine.Unknown && wrong == "":
		// The search took too long, and needs not end: the order in which the
		// store carried the calls out explains all of them.
		w.counts["histories too long for porcupine"]++
	default:
		w.violate("C4", "the history of %s is not linearizable (%s): %s", r, result, wrong)
		slices.SortStableFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		for _, op := range history {
			w.logf("~linear", "%d..%d %s", op.Call/2, op.Return/2, register.DescribeOperation(op.Input, op.Output))
		}
	}
}

// witness says what the order in which the store carried the calls out does not
// explain; empty when it explains all that was heard.
func (w *world) witness(r *request) string {
	var state spec
	for _, o := range w.ops {
		if o.request != r || !o.applied {
			continue
		}
		next, want := state.next(o.in, stamp(o.at))
		got := said{o.answer.Outcome, o.answer.Record.State, o.answer.Record.Attempt}
		if got.outcome == onceguard.Mismatched || got.outcome == onceguard.Missing {
			got = said{outcome: got.outcome}
		}
		if got != want {
			return fmt.Sprintf("%s by %s was answered %s (%s at %d), and the specification has %s (%s at %d)",
				o.kind, o.actor, got.outcome, got.state, got.attempt, want.outcome, want.state, want.attempt)
		}
		state = next
	}
	return ""
}
