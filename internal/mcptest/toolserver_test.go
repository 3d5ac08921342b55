//go:build linux

package mcptest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/mcptest"
)

// TestToolServer holds the tool server to its plan, with nothing between it and
// the client: what the proxy is measured against must itself be known.
func TestToolServer(t *testing.T) {
	t.Parallel()
	const done = "pay o: done, eff_1."
	for _, transport := range transports {
		for name, tc := range map[string]struct {
			mode    mcptest.Mode
			told    []string // one call each
			effects int
		}{
			"plain":             {mcptest.Mode{}, []string{done, "pay o: done, eff_2."}, 2},
			"refuse":            {mcptest.Mode{Refuse: true}, []string{"error -32602: pay: refused before anything was done"}, 0},
			"error before":      {mcptest.Mode{Error: mcptest.Before}, []string{"error -32603: pay: something broke"}, 0},
			"error after":       {mcptest.Mode{Error: mcptest.After}, []string{"error -32603: pay: something broke"}, 1},
			"is error before":   {mcptest.Mode{IsError: mcptest.Before}, []string{"pay: the bank did not answer in time."}, 0},
			"is error after":    {mcptest.Mode{IsError: mcptest.After}, []string{"pay: the bank did not answer in time."}, 1},
			"die before":        {mcptest.Mode{Die: mcptest.Before}, []string{"no answer"}, 0},
			"die after":         {mcptest.Mode{Die: mcptest.After}, []string{"no answer"}, 1},
			"twice":             {mcptest.Mode{Twice: true}, []string{done}, 1},
			"input asked again": {mcptest.Mode{Ask: true}, []string{"", ""}, 0},
			"task not asked":    {mcptest.Mode{Task: true}, []string{""}, 0},
		} {
			t.Run(transport+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, transport, false)
				w.modes(mcptest.Plan{"pay": {tc.mode}})
				w.start()
				var told []string
				for range tc.told {
					told = append(told, w.call(pay("o", 5, "")).told())
				}
				if diff := cmp.Diff(tc.told, told); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
				w.effects("pay o", tc.effects)
			})
		}
		t.Run(transport+"/hang, and give up", func(t *testing.T) {
			t.Parallel()
			for when, effects := range map[string]int{mcptest.Before: 0, mcptest.After: 1} {
				w := newWorld(t, transport, false)
				w.modes(mcptest.Plan{"pay": {{Hang: when}}})
				w.start()
				id := w.send(pay("o", 5, ""))
				w.waitTraced(mcptest.Called, 1)
				w.waitDecided("pay o", effects)
				w.leave(id)
				w.waitTraced(mcptest.Cancelled, 1)
				w.effects("pay o", effects)
			}
		})
		t.Run(transport+"/drop", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, transport, false)
			w.modes(mcptest.Plan{"pay": {{Drop: true}, {}}})
			w.start()
			lost := w.send(pay("o", 5, ""))
			w.waitDecided("pay o", 1)
			if got := w.call(pay("p", 5, "")).told(); got != "pay p: done, eff_2." {
				t.Errorf("the next call: %s", got)
			}
			if r, ok := w.peek(lost); ok && !r.lost {
				t.Errorf("an answer came: %s", r.raw)
			}
		})
		t.Run(transport+"/input, task, other tools", func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, transport, false)
			w.modes(mcptest.Plan{"pay": {{Ask: true}}, "send_mail": {{Task: true}}})
			w.start()
			if r := w.call(pay("o", 5, "")); !strings.Contains(r.result, `"input_required"`) {
				t.Errorf("first: %s", r.raw)
			}
			again := pay("o", 5, "")
			again.extra = `,"inputResponses":{"ok":{"action":"accept","content":{"yes":true}}},"requestState":"asked-once"`
			if got := w.call(again).told(); got != done {
				t.Errorf("with the input: %s", got)
			}
			handle := w.call(call{tool: "send_mail", args: `{"to":"a","subject":"b","body":"c"}`})
			w.effects("send_mail a b", 0)
			task := handle.result[strings.Index(handle.result, "task-"):]
			task = task[:strings.Index(task, `"`)]
			for range 2 {
				if r := w.ask("tasks/get", `{"taskId":"`+task+`"}`); !strings.Contains(r.result, `"completed"`) || !strings.Contains(r.result, "eff_2") {
					t.Errorf("task: %s", r.raw)
				}
			}
			w.effects("send_mail a b", 1)
			if got := w.call(call{tool: "read_balance", args: `{"account":"x"}`}).told(); got != "The balance of x is 100." {
				t.Errorf("read_balance: %s", got)
			}
			if got := w.call(call{tool: "pay", args: `{}`}).told(); got != `error -32602: pay: argument "order" is missing` {
				t.Errorf("no arguments: %s", got)
			}
			if got := w.ask("tools/list", `{}`); strings.Count(got.result, "inputSchema") != 4 {
				t.Errorf("tools/list: %s", got.raw)
			}
		})
	}
}
