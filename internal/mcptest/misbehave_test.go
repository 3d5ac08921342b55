//go:build linux

package mcptest_test

import (
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

// onBoth runs a test in a guarded world over each transport.
func onBoth(t *testing.T, run func(w *world)) {
	processesAlone(t)
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			run(newWorld(t, transport, true))
		})
	}
}

// frames counts the client's frames that hold a text.
func (w *world) frames(text string) int {
	n := 0
	for _, l := range w.client.lines() {
		if strings.Contains(string(l), text) {
			n++
		}
	}
	return n
}

// TestAnsweredTwice: a server that answers twice does not confuse the client.
func TestAnsweredTwice(t *testing.T) {
	onBoth(t, func(w *world) {
		w.modes(mcptest.Plan{"pay": {{Twice: true}}})
		w.start()
		id := w.send(pay("o", 42, "toolu_1"))
		if got := w.answer(id).told(); got != "pay o: done, eff_1." {
			w.Errorf("told %q", got)
		}
		w.acknowledge() // what came twice has come by now
		if n := w.frames(`"id":` + id); n+w.frames(`"id": `+id) != 1 {
			w.Errorf("the client got %d answers", n+w.frames(`"id": `+id))
		}
		w.effects(paid, 1)
	})
}

// TestProgress: progress of a guarded call reaches the client under its token,
// before the answer, and under the token of the one who asks.
func TestProgress(t *testing.T) {
	onBoth(t, func(w *world) {
		w.modes(mcptest.Plan{"pay": {{Progress: 3}}})
		w.start()
		c := pay("o", 42, "toolu_1")
		c.meta = `,"progressToken":9007199254740993`
		if got := w.call(c).told(); got != "pay o: done, eff_1." {
			w.Errorf("told %q", got)
		}
		if n := w.frames(`"progressToken": 9007199254740993,"progress":`); n != 3 {
			w.Errorf("%d notifications of progress, want 3", n)
		}
		w.effects(paid, 1)
	})
}

// TestInputRequired: the question passes, the call with the answer is the same
// intention and not a duplicate, and its own retry is one.
func TestInputRequired(t *testing.T) {
	onBoth(t, func(w *world) {
		w.modes(mcptest.Plan{"pay": {{Ask: true}}})
		w.start()
		if r := w.call(pay("o", 42, "toolu_1")); !strings.Contains(r.result, `"resultType":"input_required"`) {
			w.Errorf("first: %s", r.raw)
		}
		w.effects(paid, 0)
		again := pay("o", 42, "toolu_1")
		again.extra = `,"inputResponses":{"ok":{"action":"accept","content":{"yes":true}}},"requestState":"asked-once"`
		for range 2 {
			if got := w.call(again).told(); got != "pay o: done, eff_1." {
				w.Errorf("with the input: %q", got)
			}
		}
		w.effects(paid, 1)
	})
}

// TestTaskHandle: a handle is "in progress"; who calls again gets the same one,
// and after the task's end its result.
func TestTaskHandle(t *testing.T) {
	onBoth(t, func(w *world) {
		w.modes(mcptest.Plan{"pay": {{Task: true}}})
		w.start()
		first := w.call(pay("o", 42, "toolu_1"))
		task := first.result[strings.Index(first.result, "task-"):]
		task = task[:strings.Index(task, `"`)]
		for _, host := range []string{"toolu_1", "toolu_2"} {
			if r := w.call(pay("o", 42, host)); !strings.Contains(r.result, task) {
				w.Errorf("the call again, %s: %s", host, r.raw)
			}
		}
		w.effects(paid, 0)
		if r := w.ask("tasks/get", `{"taskId":"`+task+`"}`); !strings.Contains(r.result, `"completed"`) {
			w.Errorf("the task: %s", r.raw)
		}
		w.effects(paid, 1)
		if r := w.call(pay("o", 42, "toolu_1")); !strings.Contains(r.result, "eff_1") {
			w.Errorf("the call after the task's end: %s", r.raw)
		}
		if n := w.traced(mcptest.Called); n != 1 {
			w.Errorf("the tool was called %d times", n)
		}
		w.effects(paid, 1)
	})
}

// TestDefinitionChanges: list_changed reaches the client, and the change of a
// guarded tool's definition is reported.
func TestDefinitionChanges(t *testing.T) {
	processesAlone(t)
	t.Parallel()
	w := newWorld(t, stdio, true)
	w.modes(mcptest.Plan{"pay": {{Redefine: true}, {}}})
	w.start()
	w.ask("tools/list", `{}`)
	w.call(pay("o", 42, "toolu_1"))
	w.client.until("list_changed", func() bool { return w.frames("notifications/tools/list_changed") == 1 })
	if r := w.ask("tools/list", `{}`); !strings.Contains(r.result, "Now with fees.") {
		t.Errorf("tools/list: %s", r.raw)
	}
	w.client.until("a word about the changed definition", func() bool {
		for line := range strings.Lines(w.client.errors()) {
			if strings.Contains(line, "pay") && strings.Contains(line, "changed") {
				return true
			}
		}
		return false
	})
	w.effects(paid, 1)
}

// TestLeaving: a client that gives a call up does not cancel it. The server is
// not told, the call is finished, and who calls again gets its result.
func TestLeaving(t *testing.T) {
	onBoth(t, func(w *world) {
		w.ledgerModes(paid, ledger.Mode{Hold: true}, ledger.Mode{})
		w.start()
		id := w.send(pay("o", 42, "toolu_1"))
		w.waitArrived(paid, 1)
		w.leave(id)
		if w.transport == httpT {
			w.waitGone(id)
		}
		w.acknowledge() // the proxy has read that the client left
		w.release(paid)
		w.waitTraced(mcptest.Answered, 3) // pay, and two of read_balance
		if got := w.call(pay("o", 42, "toolu_1")).told(); got != "pay o: done, eff_1." {
			w.Errorf("told %q", got)
		}
		if n := w.traced(mcptest.Cancelled); n != 0 {
			w.Errorf("the server was told %d times to cancel", n)
		}
		w.effects(paid, 1)
	})
}

// TestHelpers: the two helper tools read, and nothing that the model can call
// approves, resolves or releases.
func TestHelpers(t *testing.T) {
	onBoth(t, func(w *world) {
		w.modes(mcptest.Plan{"pay": {{IsError: mcptest.After}}})
		w.start()
		list := w.ask("tools/list", `{}`).result
		if n := strings.Count(list, `"name":"onceguard_`); n != 2 || !strings.Contains(list, `"onceguard_status"`) || !strings.Contains(list, `"onceguard_open"`) {
			w.Errorf("tools/list has %d tools of the guard: %s", n, list)
		}
		w.call(pay("o", 42, "toolu_1"))
		if r := w.call(call{tool: "onceguard_open", args: `{}`}); !strings.Contains(r.text, "pay") || r.failed {
			w.Errorf("onceguard_open: %s", r.raw)
		}
		for _, name := range []string{"onceguard_open", "onceguard_status"} {
			for _, l := range w.lines() {
				if l.Tool == name {
					w.Errorf("the server was asked for %s", name)
				}
			}
		}
		w.effects(paid, 1)
	})
}
