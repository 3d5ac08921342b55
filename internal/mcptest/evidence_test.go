//go:build linux

package mcptest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

const failuresPart = "failures"

// byOrder is a policy file that says what names a payment: the order.
const byOrder = `version: 1
server: bank
tools:
  - name: pay
    identity:
      key: [/order]
      show_values: [/amount]
  - name: read_balance
    mode: pass
`

// shortWait is a policy file for tests that must not wait as long as a host may.
const shortWait = `version: 1
server: bank
defaults:
  wait: 200ms
`

// A failure is a row of the evidence: what a client does, the same without the
// guard and with it. It returns what the model was told in the end.
type failure struct {
	name      string
	transport string
	config    string
	does      func(w *world) reply
}

const paid = "pay o"

// failures are the rows. Retries come under a new JSON-RPC id, as the
// specification demands, and without any id of the host unless it is said.
var failures = []failure{
	{"lost response: the connection breaks after the effect, the call is sent again", httpT, "", func(w *world) reply {
		w.ledgerModes(paid, ledger.Mode{HoldAnswer: true}, ledger.Mode{})
		first := w.send(pay("o", 42, ""))
		w.waitDecided(paid, 1)
		w.leave(first)
		w.waitGone(first)
		w.release(paid)
		return w.call(pay("o", 42, ""))
	}},
	{"client re-issues under a new id while the first call still runs", httpT, "", func(w *world) reply {
		w.ledgerModes(paid, ledger.Mode{Hold: true}, ledger.Mode{})
		first := w.send(pay("o", 42, ""))
		w.waitArrived(paid, 1)
		w.leave(first)
		w.waitGone(first)
		second := w.send(pay("o", 42, ""))
		if !w.guarded {
			w.waitDecided(paid, 1) // the second has overtaken the first
		}
		w.release(paid)
		r := w.answer(second)
		if !w.guarded {
			w.waitDecided(paid, 2)
		}
		return r
	}},
	{"client times out and cancels, then calls again; the server never answers", stdio, shortWait, func(w *world) reply {
		w.modes(mcptest.Plan{"pay": {{Drop: true}, {}}})
		first := w.send(pay("o", 42, ""))
		w.waitDecided(paid, 1)
		w.leave(first)
		return w.call(pay("o", 42, ""))
	}},
	{"server dies before the effect, the host starts it again and retries", stdio, "", func(w *world) reply {
		return w.serverDies(mcptest.Before)
	}},
	{"server dies after the effect, the host starts it again and retries", stdio, "", func(w *world) reply {
		return w.serverDies(mcptest.After)
	}},
	{"server dies after the effect", httpT, "", func(w *world) reply {
		return w.serverDies(mcptest.After)
	}},
	{"host killed after the effect, started again, calls again", stdio, "", func(w *world) reply {
		w.ledgerModes(paid, ledger.Mode{HoldAnswer: true}, ledger.Mode{})
		w.send(pay("o", 42, "toolu_1"))
		w.waitDecided(paid, 1)
		below := w.pid()
		w.kill(killsClient)
		w.release(paid)
		w.settleDown(killsClient, below)
		return w.start().call(pay("o", 42, "toolu_1"))
	}},
	{"eight concurrent duplicates of one call", stdio, "", func(w *world) reply { return w.crowd() }},
	{"eight concurrent duplicates of one call", httpT, "", func(w *world) reply { return w.crowd() }},
	{"model re-plans and changes an argument (policy file: the order names the payment)", stdio, byOrder, func(w *world) reply {
		w.call(pay("o", 42, "toolu_1"))
		return w.call(pay("o", 41, "toolu_2"))
	}},
	{"the same without a policy file: another amount is another payment", stdio, "", func(w *world) reply {
		w.call(pay("o", 42, "toolu_1"))
		return w.call(pay("o", 41, "toolu_2"))
	}},
	{"model calls again what it was told has succeeded", stdio, "", func(w *world) reply {
		w.call(pay("o", 42, "toolu_1"))
		w.acknowledge()
		return w.call(pay("o", 42, "toolu_2"))
	}},
	{"deliberate repeat, with the token; its answer is lost and it is sent again", stdio, "", func(w *world) reply {
		w.call(pay("o", 42, "toolu_1"))
		w.acknowledge()
		again := pay("o", 42, "toolu_2")
		if w.guarded {
			token := w.call(again).word().RepeatToken
			if token == "" {
				w.Error("no repeat token was given")
			}
			again.args = strings.TrimSuffix(again.args, "}") + `,"onceguard_repeat":` + strconv.Quote(token) + "}"
		}
		w.call(again)
		return w.call(again)
	}},
	{"unknown outcome: the tool says isError after the effect, the model retries", stdio, "", func(w *world) reply {
		w.modes(mcptest.Plan{"pay": {{IsError: mcptest.After}, {}}})
		w.call(pay("o", 42, "toolu_1"))
		return w.call(pay("o", 42, "toolu_2"))
	}},
	{"unknown outcome: an internal error after the effect", httpT, "", func(w *world) reply {
		w.modes(mcptest.Plan{"pay": {{Error: mcptest.After}, {}}})
		w.call(pay("o", 42, ""))
		return w.call(pay("o", 42, ""))
	}},
	{"refused before any work (-32602), then called rightly", stdio, "", func(w *world) reply {
		w.modes(mcptest.Plan{"pay": {{Refuse: true}, {}}})
		w.call(pay("o", 42, "toolu_1"))
		return w.call(pay("o", 42, "toolu_2"))
	}},
}

// serverDies lets the server die on the first call, starts it again and retries.
func (w *world) serverDies(when string) reply {
	w.modes(mcptest.Plan{"pay": {{Die: when}}})
	w.call(pay("o", 42, "toolu_1"))
	w.settleDown(killsServer)
	w.modes(nil)
	return w.start().call(pay("o", 42, "toolu_1"))
}

// crowd sends one call eight times at once; all must be told the same.
func (w *world) crowd() reply {
	w.ledgerModes(paid, ledger.Mode{Slow: soon})
	var ids []string
	for range 8 {
		ids = append(ids, w.send(pay("o", 42, "toolu_1")))
	}
	r := w.answer(ids[0])
	for _, id := range ids[1:] {
		other := w.answer(id)
		if w.guarded && other.told() != r.told() {
			w.Errorf("one was told %q, another %q", r.told(), other.told())
		}
		if other.told() > r.told() {
			r = other
		}
	}
	return r
}

// acknowledge is any other request: it shows that the client has read the
// answers before it. The evidence of that is stored beside the calls that
// follow, so that there are two.
func (w *world) acknowledge() {
	for range 2 {
		w.ids++
		if r := w.call(call{tool: "read_balance", args: fmt.Sprintf(`{"account":"x%d"}`, w.ids)}); r.failed {
			w.Errorf("read_balance: %s", r.raw)
		}
	}
}

// waitGone waits until the client has closed a request's connection.
func (w *world) waitGone(id string) {
	w.Helper()
	if r := w.answer(id); !r.lost {
		w.Fatalf("the call that was left got an answer: %s", r.raw)
	}
}

// run runs a row one way and gives its cells: calls, effects, told.
func (f failure) run(t testing.TB, guarded bool) []string {
	t.Helper()
	w := newWorld(t, f.transport, guarded)
	w.config = f.config
	w.start()
	told := plain(f.does(w).told())
	return []string{strconv.Itoa(w.pays), strconv.Itoa(w.count(paid)), strings.ReplaceAll(told, "|", `\|`)}
}

// row is the row as it stands in the table.
func (f failure) row(t testing.TB) []string {
	t.Helper()
	without, with := f.run(t, false), f.run(t, true)
	return slices.Concat([]string{f.name, f.transport}, without, with)
}

var failureHead = []string{
	"what happens", "over", "calls", "effects", "the model is told last", "calls, guarded", "effects, guarded", "the model is told last, guarded",
}

// TestFailures runs every row of the evidence and compares it with the page.
func TestFailures(t *testing.T) {
	processesAlone(t)
	t.Parallel()
	written := rows(t, failuresPart)
	if len(written) != len(failures) {
		t.Errorf("%s has %d failures, want %d; make mcp-evidence writes it", evidencePath, len(written), len(failures))
	}
	for i, f := range failures {
		t.Run(fmt.Sprintf("%s, %s", f.name, f.transport), func(t *testing.T) {
			t.Parallel()
			got := f.row(t)
			if i < len(written) {
				if diff := cmp.Diff(written[i], got); diff != "" {
					t.Errorf("%s (-written +now)\n%s", evidencePath, diff)
				}
			}
		})
	}
}

// TestEvidence writes the page.
func TestEvidence(t *testing.T) {
	if !*writing {
		t.Skip("make mcp-evidence runs this; what it writes is compared by TestFailures and TestKilled")
	}
	var body [][]string
	for _, f := range failures {
		body = append(body, f.row(t))
	}
	writePart(t, failuresPart, table(failureHead, body))
	writeKills(t)
	writeLatency(t)
}
