//go:build linux

package mcptest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest"
)

// agentTime bounds one run of the agent.
const agentTime = time.Minute

// TestAgent runs the AI SDK's own loop over the MCP tools: a model that is a
// script retries, re-plans, changes arguments, and repeats on purpose.
func TestAgent(t *testing.T) {
	t.Parallel()
	const order = `{"call":"pay","args":{"order":"o","amount":42,"currency":"EUR"}}`
	const other = `{"call":"pay","args":{"order":"o","amount":41,"currency":"EUR"}}`
	const balance = `{"call":"read_balance","args":{"account":"x"}}`
	for _, tc := range []struct {
		name, config string
		plan         mcptest.Plan
		mode         ledger.Mode
		moves        string
		without      int      // effects
		with         int      // effects
		told         []string // with the guard: a piece of each result that the model gets
	}{
		{
			name: "retries after an error whose outcome is unknown", plan: mcptest.Plan{"pay": {{IsError: mcptest.After}, {}}},
			moves: `[` + order + `,` + order + `]`, without: 2, with: 1,
			told: []string{"Outcome unknown: pay may or may not have happened", "Outcome unknown: pay may or may not have happened"},
		},
		{
			name: "calls twice in one turn", mode: ledger.Mode{Slow: soon}, moves: `[{"calls":[` + order + `,` + order + `]}]`, without: 2, with: 1,
			told: []string{"pay o: done, eff_1.", "pay o: done, eff_1."},
		},
		{
			name: "re-plans with another amount", config: byOrder, moves: `[` + order + `,` + balance + `,` + other + `]`, without: 2, with: 1,
			told: []string{"pay o: done, eff_1.", "The balance of x is 100.", "Nothing was run: pay was called for the same thing before, with another /amount"},
		},
		{
			name: "calls again what has succeeded", moves: `[` + order + `,` + balance + `,` + order + `]`, without: 2, with: 1,
			told: []string{"pay o: done, eff_1.", "The balance of x is 100.", "Not run again: this exact call of pay already succeeded"},
		},
		{
			name: "repeats on purpose with the token, and retries that", moves: `[` + order + `,` + balance + `,` + order + `,{"token":` + order + `},` + balance + `,{"token":` + order + `}]`,
			without: -1, with: 2,
			told: []string{"pay o: done, eff_1.", "The balance of x is 100.", "Not run again", "pay o: done, eff_2.", "The balance of x is 100.", "pay o: done, eff_2."},
		},
		{
			name: "host reconnects and the model starts over", moves: `[` + order + `,{"restart":true},` + order + `]`, without: 2, with: 1,
			told: []string{"pay o: done, eff_1.", "eff_1"},
		},
		{
			name: "server refuses the arguments, the model mends them", moves: `[{"call":"pay","args":{"order":"o","amount":42}},` + order + `]`, without: 1, with: 1,
			told: []string{`argument`, "pay o: done, eff_1."},
		},
		{
			name: "two orders are two payments", moves: `[` + order + `,` + strings.ReplaceAll(order, `"o"`, `"p"`) + `]`, without: 1, with: 1,
			told: []string{"pay o: done, eff_1.", "pay p: done, eff_2."},
		},
	} {
		for _, transport := range transports {
			t.Run(tc.name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				p := install(t, "agent")
				run := func(guarded bool) (effects int, told []string) {
					w := newWorld(t, transport, guarded)
					w.config, w.shipped, w.plain = tc.config, true, true // this client refuses members that it does not know
					w.modes(tc.plan)
					w.ledgerModes(paid, tc.mode)
					return w.agent(p, tc.moves)
				}
				if tc.without >= 0 {
					if effects, told := run(false); effects != tc.without {
						t.Errorf("without the guard %d effects, want %d: %q", effects, tc.without, told)
					}
				}
				effects, told := run(true)
				if effects != tc.with {
					t.Errorf("%d effects, want %d", effects, tc.with)
				}
				if diff := cmp.Diff(tc.told, told, cmp.Comparer(func(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) })); diff != "" {
					t.Errorf("the model was told (-want a piece +got)\n%s", diff)
				}
			})
		}
	}
}

// agent runs the agent in place of the world's client, and gives the effects and
// what the model was told, result by result.
func (w *world) agent(p packages, moves string) (effects int, told []string) {
	w.Helper()
	w.startServers()
	server := w.clientCommand()[3:] // behind the role and the transport
	ctx, cancel := context.WithTimeout(context.Background(), agentTime)
	defer cancel()
	command := append(append(p.script("agent.mjs"), moves), server...)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = slices.Concat(os.Environ(), w.env(), p.env())
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("the agent: %v\n%s\n%s", err, out, said.String())
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var line struct{ Told string }
		if err := dec.Decode(&line); err != nil {
			w.Fatalf("%v in %s", err, out)
		}
		told = append(told, strings.ReplaceAll(line.Told, `\"`, `"`))
	}
	return w.count(paid), told
}
