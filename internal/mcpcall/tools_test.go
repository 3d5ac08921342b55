package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/memstore"
)

const (
	readTool = `{"name":"read","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"}}`
	payTool  = `{ "name":"pay", "inputSchema":{"type":"object","properties":{"a":{"type":"number"}}} , "x":1.0 }`
	outTool  = `{"name":"out","inputSchema":{"type":"object"},"outputSchema":{"type":"object"}}`
)

func listOf(tools ...string) json.RawMessage {
	return json.RawMessage(`{ "tools":[` + strings.Join(tools, " , ") + `],"_meta":{"y":1.0}}`)
}

// TestToolsList: the list is changed where it must be and nowhere else.
func TestToolsList(t *testing.T) {
	repeat := `"onceguard_repeat":{"description":"Leave out. Only to repeat, because the user wants it, a call that already succeeded: the token that its answer gave.","type":"string"}`
	noHelpers := func(o *mcpcall.Options) { o.NoHelpers = true }
	for name, tt := range map[string]struct {
		policy, from, to string
	}{
		"nothing of ours":      {"", readTool, readTool},
		"no tools":             {"", "", ""},
		"guarded":              {"", payTool, strings.Replace(payTool, `{"type":"number"}`, `{"type":"number"},`+repeat, 1)},
		"without properties":   {"", outTool, strings.Replace(outTool, `{"type":"object"}`, `{"type":"object","properties":{`+repeat+`}}`, 1)},
		"both":                 {"", readTool + " , " + payTool, readTool + " , " + strings.Replace(payTool, `{"type":"number"}`, `{"type":"number"},`+repeat, 1)},
		"money":                {"tools: [{name: pay, repeat: money}]", payTool, payTool},
		"passes by the policy": {"tools: [{name: pay, mode: pass}]", payTool, payTool},
		"no schema":            {"", `{"name":"pay"}`, `{"name":"pay"}`},
		"unreadable":           {"", `{"name":"pay","name":"read"}`, `{"name":"pay","name":"read"}`},
		"an argument like it":  {"", `{"name":"pay","inputSchema":{"properties":{"onceguard_repeat":{}}}}`, `{"name":"pay","inputSchema":{"properties":{"onceguard_repeat":{}}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, memstore.New(memstore.Options{}), tt.policy, noHelpers)
			if got := w.gate.Tools(w.ctx, listOf(tt.from)); string(got) != string(listOf(tt.to)) {
				t.Errorf("%s\nwant\n%s", got, listOf(tt.to))
			}
		})
	}
	t.Run("no list", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		for _, s := range []string{`{}`, `{"tools":7}`, `[`, `null`} {
			if got := w.gate.Tools(w.ctx, json.RawMessage(s)); string(got) != s {
				t.Errorf("%s became %s", s, got)
			}
		}
	})
	t.Run("helpers at the end of the last page", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		page := json.RawMessage(`{"tools":[` + readTool + `],"nextCursor":"x"}`)
		if got := w.gate.Tools(w.ctx, page); string(got) != string(page) {
			t.Errorf("%s", got)
		}
		var names []string
		var list struct{ Tools []struct{ Name string } }
		for _, from := range []json.RawMessage{listOf(readTool), listOf()} {
			if err := json.Unmarshal(w.gate.Tools(w.ctx, from), &list); err != nil {
				t.Fatal(err)
			}
			for _, tool := range list.Tools {
				names = append(names, tool.Name)
			}
		}
		if got := strings.Join(names, " "); got != "read onceguard_status onceguard_open onceguard_status onceguard_open" {
			t.Errorf("%s", got)
		}
		if w.gate.Decide("onceguard_open") != mcpcall.Own {
			t.Error("a helper is not ours")
		}
		w.gate.Tools(w.ctx, listOf(`{"name":"onceguard_open"}`))
		if w.gate.Decide("onceguard_open") != mcpcall.Guard {
			t.Error("the server's own tool is taken for a helper")
		}
	})
	t.Run("an argument of the server's own is not a token", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		w.gate.Tools(w.ctx, listOf(`{"name":"pay","inputSchema":{"properties":{"onceguard_repeat":{}}}}`))
		w.want(w.send(`{"onceguard_repeat":{"x":1}}`, ""), "")
		if got := string(w.calls[0]); got != string(params("pay", `{"onceguard_repeat":{"x":1}}`, "")) {
			t.Errorf("%s", got)
		}
	})
}

// TestPassing: without a policy file, what says that it only reads passes, when
// it said so from the start.
func TestPassing(t *testing.T) {
	acts := strings.Replace(readTool, "true", "false", 1)
	other := strings.Replace(readTool, `"inputSchema"`, `"title":"x","inputSchema"`, 1)
	odd := strings.Replace(readTool, "true", `"true"`, 1)
	unsaid := `{"name":"read","inputSchema":{"type":"object"}}`
	for name, tt := range map[string]struct {
		lists   []string // "" is a restart
		want    mcpcall.Decision
		changed bool
	}{
		"never listed":                 {nil, mcpcall.Guard, false},
		"reads":                        {[]string{readTool}, mcpcall.Pass, false},
		"reads, after a restart":       {[]string{readTool, ""}, mcpcall.Pass, false},
		"acts":                         {[]string{acts}, mcpcall.Guard, false},
		"unsaid":                       {[]string{unsaid}, mcpcall.Guard, false},
		"a text":                       {[]string{odd}, mcpcall.Guard, false},
		"became read-only":             {[]string{acts, readTool}, mcpcall.Guard, true},
		"became read-only, restarted":  {[]string{acts, "", readTool}, mcpcall.Guard, true},
		"vanished and came back":       {[]string{acts, payTool, "", payTool, readTool}, mcpcall.Guard, true},
		"began to act":                 {[]string{readTool, acts}, mcpcall.Guard, true},
		"began to act, restarted":      {[]string{readTool, acts, ""}, mcpcall.Guard, true},
		"began to act, says it reads":  {[]string{readTool, acts, "", readTool}, mcpcall.Guard, true},
		"another text, reads as ever":  {[]string{readTool, other}, mcpcall.Pass, true},
		"only its spelling is another": {[]string{readTool, strings.Replace(readTool, ",", " ,", 1)}, mcpcall.Pass, false},
	} {
		t.Run(name, func(t *testing.T) {
			memoryAnd(t, strings.Contains(name, "restart"), "", func(w *world) {
				for _, l := range tt.lists {
					if l == "" {
						w.restart()
						continue
					}
					w.gate.Tools(w.ctx, listOf(l))
				}
				if got := w.gate.Decide("read"); got != tt.want {
					t.Errorf("decided %v", got)
				}
				if got := strings.Contains(w.log.String(), "changed a tool's definition"); got != tt.changed {
					t.Errorf("reported %v: %s", got, w.log)
				}
				if got := strings.Join(w.gate.Passing(), " "); (got == "read") != (tt.want == mcpcall.Pass) && len(tt.lists) > 0 && tt.lists[len(tt.lists)-1] != "" {
					t.Errorf("listed as passing: %q", got)
				}
			})
		})
	}
	t.Run("strict", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		w.pol.Strict = true
		w.gate.Tools(w.ctx, listOf(readTool))
		if w.gate.Decide("read") != mcpcall.Guard {
			t.Error("passes")
		}
	})
	t.Run("a policy file", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "tools: [{name: 're*', mode: pass}, {name: pay}]")
		w.gate.Tools(w.ctx, listOf(readTool, `{"name":"look","annotations":{"readOnlyHint":true}}`))
		if w.gate.Decide("read") != mcpcall.Pass || w.gate.Decide("look") != mcpcall.Guard || w.gate.Decide("pay") != mcpcall.Guard || w.gate.Decide("reset") != mcpcall.Pass {
			t.Error("the policy file does not decide")
		}
		w.gate.Tools(w.ctx, listOf(acts))
		if w.gate.Decide("read") != mcpcall.Guard {
			t.Error("a tool that began to act passes still")
		}
		pin, err := mcpcall.Pin(json.RawMessage(acts))
		if err != nil {
			t.Fatal(err)
		}
		again := newWorld(t, w.store, "tools: [{name: read, mode: pass, pin: '"+pin+"'}]")
		if again.gate.Decide("read") != mcpcall.Guard {
			t.Error("passes before it is listed with the pinned definition")
		}
		again.gate.Tools(w.ctx, listOf(acts))
		if again.gate.Decide("read") != mcpcall.Pass {
			t.Error("pinned again, and does not pass")
		}
	})
}

// TestPins: a changed definition of a guarded tool is reported, once, and its
// verdicts say so.
func TestPins(t *testing.T) {
	pin, err := mcpcall.Pin(json.RawMessage(payTool))
	if err != nil {
		t.Fatal(err)
	}
	for name, policy := range map[string]string{"first seen": "", "pinned": "tools: [{name: pay, pin: '" + pin + "'}]"} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, policy, func(w *world) {
				w.gate.Tools(w.ctx, listOf(payTool))
				w.delivered(`{"a":1}`, "")
				if word := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat); word.DefinitionChanged || w.log.String() != "" {
					t.Errorf("%+v %s", word, w.log)
				}
				w.restart()
				changed := strings.Replace(payTool, `"x":1.0`, `"x":2`, 1)
				w.gate.Tools(w.ctx, listOf(changed))
				w.gate.Tools(w.ctx, listOf(changed))
				if n := strings.Count(w.log.String(), "changed a tool's definition"); n != 1 {
					t.Errorf("reported %d times: %s", n, w.log)
				}
				if word := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat); !word.DefinitionChanged {
					t.Errorf("%+v", word)
				}
				w.wantRuns(1)
			})
		})
	}
}

// TestOutputSchema: verdicts of tools with an output schema have no
// structuredContent, which clients would check against it.
func TestOutputSchema(t *testing.T) {
	bothStores(t, "", func(w *world) {
		w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
			return mcpcall.Reply{}, errors.New("x")
		}
		has := func(tool string) bool {
			r := w.do(mcpcall.Call{Params: params(tool, `{}`, "")})
			if word := w.want(r, mcpcall.Uncertain); word.RequestID == "" {
				t.Error("no word in _meta")
			}
			return strings.Contains(string(r.Result), "structuredContent")
		}
		w.gate.Tools(w.ctx, listOf(payTool, outTool))
		if !has("pay") || has("out") {
			t.Error("structuredContent where it must not be, or not where it belongs")
		}
		w.restart()
		if !has("pay") || has("out") {
			t.Error("forgotten over a restart")
		}
	})
}

// TestHelpers: they tell, and change nothing.
func TestHelpers(t *testing.T) {
	bothStores(t, "", func(w *world) {
		ask := func(name, args string) string {
			r := w.gate.Helper(w.ctx, "", params(name, args, ""))
			return string(r.Result) + string(r.Error)
		}
		if s := ask("onceguard_open", ""); !strings.Contains(s, "No call is running") || !strings.Contains(s, `"open":[]`) {
			t.Error(s)
		}
		w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
			return mcpcall.Reply{}, errors.New("x")
		}
		lost := w.want(w.send(`{"a":1}`, claude("c")), mcpcall.Uncertain)
		if s := ask("onceguard_open", "{}"); !strings.Contains(s, "1 open calls") || !strings.Contains(s, lost.RequestID) || !strings.Contains(s, `"state":"uncertain"`) {
			t.Error(s)
		}
		if s := ask("onceguard_status", `{"request_id":`+quoted(lost.RequestID)+`}`); !strings.Contains(s, "Whether pay happened is not known") {
			t.Error(s)
		}
		for args, want := range map[string]string{
			`{"request_id":"req_x"}`: "The request_id is not one",
			`{"request_id":7}`:       "The request_id is not one",
			`{}`:                     "The request_id is not one",
			`{"request_id":"req_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}`: "There is no such call",
		} {
			if s := ask("onceguard_status", args); !strings.Contains(s, want) {
				t.Errorf("%s: %s", args, s)
			}
		}
		if s := ask("onceguard_resolve", "{}"); !strings.Contains(s, "-32602") {
			t.Error(s)
		}
		// A row of the gate's own is no call.
		page, err := w.store.List(w.ctx, listAll)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Records {
			if s := ask("onceguard_status", `{"request_id":`+quoted(rec.ID.String())+`}`); !strings.HasPrefix(rec.Action, "mcp/") && !strings.Contains(s, "There is no such call") {
				t.Errorf("%s: %s", rec.Action, s)
			}
		}
		if got := w.record(lost.RequestID).State.String(); got != "uncertain" {
			t.Error(got)
		}
		w.wantRuns(1)
	})
}
