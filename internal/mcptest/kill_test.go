//go:build linux

package mcptest_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

// moments are how far a guarded call has come when a process is killed.
var moments = []struct {
	name string
	// fault stops the proxy there; otherwise the ledger or the server does.
	fault string
}{
	{"claimed, not forwarded", "guard.effect.before@1=stop"},
	{"forwarded, before the effect", ""},
	{"after the effect, before its answer", ""},
	{"answered, not stored", "guard.settle.before@1=stop"},
	{"stored, not delivered", "guard.answer.before@1=stop"},
	{"delivered", ""},
}

// kills are the columns: who is killed, and whether the proxy is there at all.
var kills = []struct {
	victim  string
	guarded bool
}{{killsProxy, true}, {killsServer, true}, {killsClient, true}, {killsServer, false}, {killsClient, false}}

// without reports the moments that there are without a proxy.
func without(fault string) bool { return fault == "" }

// killed is what came of one kill: the effects, and what a retry was told that
// names the same call of the host, and one that has a new id and equal content.
type killed struct {
	effects         int
	same, different string
}

func (k killed) String() string {
	return fmt.Sprintf("%d: %s, %s", k.effects, k.same, k.different)
}

const repeated = "repeat"

// soon reports that the second retry overtook the evidence that the first had
// its answer: then it is given the result, as a retry is.
func (k killed) soon() bool { return k.different == "result" }

// TestKilled kills the proxy, the server and the client at every moment of a
// guarded call, over both transports, starts everything again and retries. The
// tool runs at most once, and docs/mcp-evidence.md says what is told.
func TestKilled(t *testing.T) {
	processesAlone(t)
	t.Parallel()
	want := readKills(t)
	for _, transport := range transports {
		for _, m := range moments {
			for _, how := range kills {
				cell := killCell{transport, m.name, how.victim, how.guarded}
				if !how.guarded && !without(m.fault) {
					continue
				}
				t.Run(cell.String(), func(t *testing.T) {
					t.Parallel()
					got := killAt(t, cell, m.fault)
					if got.effects > 1 && cell.guarded {
						t.Errorf("the tool ran %d times", got.effects)
					}
					if got.String() != want[cell] && !(cell.guarded && got.soon() && strings.HasSuffix(want[cell], killed{got.effects, got.same, repeated}.String())) {
						t.Errorf("%s, and docs/mcp-evidence.md has %s", got, want[cell])
					}
				})
			}
		}
	}
}

// killAt runs one call to a moment, kills, starts again and retries.
func killAt(t testing.TB, c killCell, fault string) killed {
	t.Helper()
	const op = "pay o"
	moment, victim := c.moment, c.victim
	w := newWorld(t, c.transport, c.guarded)
	w.fault = fault
	effects := 1 // once everything has calmed down, if nobody retried
	switch {
	case moment == "forwarded, before the effect" && victim == killsServer:
		w.modes(mcptest.Plan{"pay": {{Hang: mcptest.Before}}})
		effects = 0
	case moment == "forwarded, before the effect":
		w.ledgerModes(op, ledger.Mode{Hold: true}, ledger.Mode{})
	case moment == "after the effect, before its answer":
		w.ledgerModes(op, ledger.Mode{HoldAnswer: true}, ledger.Mode{})
	case moment == "claimed, not forwarded" && victim != killsClient:
		effects = 0
	}
	w.start()
	server, proxy := w.serverPid(), 0
	if c.guarded {
		proxy = w.pidOf(killsProxy)
	}
	id := w.send(pay("o", 42, "toolu_1"))
	switch {
	case fault != "":
		stopped(t, proxy)
	case moment == "forwarded, before the effect" && victim == killsServer:
		w.waitTraced(mcptest.Called, 1)
	case moment == "forwarded, before the effect":
		w.waitArrived(op, 1)
	case moment == "after the effect, before its answer":
		w.waitDecided(op, 1)
	default:
		if r := w.answer(id); r.outcome() != "result" {
			t.Fatalf("the call: %s", r.raw)
		}
	}

	w.fault = ""
	w.kill(victim)
	w.modes(nil)
	if fault != "" && victim != killsProxy {
		signalPid(t, proxy, syscall.SIGCONT)
	}
	w.release(op)
	w.settleDown(victim, proxy, server) // 0 is no process of ours, and gone
	if effects > 0 {
		w.waitDecided(op, effects) // what was on its way has arrived
	}

	w.start()
	k := killed{same: w.call(pay("o", 42, "toolu_1")).outcome()}
	w.acknowledge()
	k.different = w.call(pay("o", 42, "toolu_2")).outcome()
	k.effects = w.count(op)
	return k
}

// killCell names one kill.
type killCell struct {
	transport, moment, victim string
	guarded                   bool
}

func (c killCell) String() string {
	name := c.transport + "/" + c.moment + "/" + c.victim
	if !c.guarded {
		name += ", unguarded"
	}
	return name
}
