package storesuite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceguard/onceguard"
)

// observed is what one call of a concurrent history returned.
type observed struct {
	reply   reply
	state   onceguard.State
	attempt int64
}

// request of a concurrent history: which one it was about, and what was asked.
type asked struct {
	request int
	action  action
}

// registers is the model as porcupine wants it: each request is on its own.
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var parts [][]porcupine.Operation
		for _, op := range history {
			for len(parts) <= op.Input.(asked).request {
				parts = append(parts, nil)
			}
			i := op.Input.(asked).request
			parts[i] = append(parts[i], op)
		}
		return parts
	},
	Init: func() any { return model{} },
	Step: func(state, input, output any) (bool, any) {
		next, want := state.(model).next(input.(asked).action)
		got := output.(observed)
		same := got.reply == want
		if want.outcome != onceguard.Mismatched && want.outcome != onceguard.Missing {
			same = same && got.state == next.state && got.attempt == next.attempt
		}
		return same, next
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%+v -> %+v", input, output)
	},
}

// linearizable records what concurrent owners, strangers and readers saw of a
// few requests, and looks for one order of the calls that explains it all.
func linearizable(e *env) {
	const rounds, callers, calls = 6, 5, 8
	stores := e.both()
	for round := range rounds {
		seed := rand.Uint64()
		requests := []onceguard.Claim{e.request(), e.request()}
		var mu sync.Mutex
		var history []porcupine.Operation
		start := time.Now()
		var all sync.WaitGroup
		for caller := range callers {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(caller)))
				tokens := map[int]onceguard.Token{}
				attempt := map[int]int64{} // per request: what this caller was granted
				token := map[int]int{}
				for n := range calls {
					i := random.IntN(len(requests))
					a := concurrentAction(random, attempt[i], token[i])
					if a.kind == doClaim || a.token == 0 {
						a.token = 1 + caller*calls + n // a new call draws a new token
						tokens[a.token] = newToken()
					}
					called := time.Since(start).Nanoseconds()
					got, err := perform(e, stores[caller%2], requests[i], tokens[a.token], a)
					returned := time.Since(start).Nanoseconds()
					if err != nil {
						e.Errorf("round %d: %v", round, err)
						return
					}
					if got.Outcome == onceguard.Granted {
						attempt[i], token[i] = got.Record.Attempt, a.token
					}
					mu.Lock()
					history = append(history, porcupine.Operation{
						ClientId: caller, Input: asked{i, a}, Call: called, Return: returned,
						Output: observed{reply{got.Outcome, got.Transition, got.Mine}, got.Record.State, got.Record.Attempt},
					})
					mu.Unlock()
				}
			})
		}
		all.Wait()
		switch result := porcupine.CheckOperationsTimeout(registers, history, 30*time.Second); result {
		case porcupine.Ok:
		default:
			slices.SortFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
			for _, op := range history {
				e.Logf("%d..%d caller %d: %s", op.Call, op.Return, op.ClientId, registers.DescribeOperation(op.Input, op.Output))
			}
			e.Fatalf("round %d, seed %d: the history is not linearizable: %s", round, seed, result)
		}
	}
}

// concurrentAction draws a call. Leases are zero or long and no policy has a
// horizon, so the outcome depends on the order of the calls alone.
func concurrentAction(r *rand.Rand, attempt int64, token int) action {
	a := action{attempt: attempt, token: token, body: "a", lease: long, policy: rerun}
	a.policy.MaxAttempts = 1000
	if r.IntN(2) == 0 {
		a.lease = 0
	}
	switch k := r.IntN(10); {
	case k < 4 || token == 0 && k < 8:
		a.kind = doClaim
	case k < 7:
		a.kind = doSettle
		a.verb = []onceguard.Verb{onceguard.SettleSucceeded, onceguard.SettleUnknown, onceguard.SettleReleased, onceguard.SettleReleased}[r.IntN(4)]
	case k < 8:
		a.kind = doRenew
	default:
		a.kind = doGet
	}
	return a
}
