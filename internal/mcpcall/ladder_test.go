package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

// TestRetryOrRepeat is the table of what an equal call under a new name means.
func TestRetryOrRepeat(t *testing.T) {
	const args = `{"to":"ann","cents":9007199254740993}`
	for _, names := range []struct{ name, first, second string }{
		{"no names", "", ""},
		{"host call ids", claude("toolu_1"), claude("toolu_2")},
	} {
		t.Run(names.name, func(t *testing.T) {
			t.Run("not delivered is a retry", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					first := w.send(args, names.first)
					w.restart()
					again := w.send(args, names.second)
					w.want(again, mcpcall.Replayed)
					w.wantSame(again, first)
					w.wantRuns(1)
				})
			})
			t.Run("delivered is a repeat", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					w.delivered(args, names.first)
					w.restart()
					word := w.want(w.send(args, names.second), mcpcall.Repeat)
					if word.RepeatToken == "" || word.NextStep != mcpcall.StepToken || !word.MayRun || word.State != "succeeded" {
						t.Errorf("%+v", word)
					}
					w.wantRuns(1)
				})
			})
			t.Run("unknown blocks", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
						return mcpcall.Reply{}, errors.New("the server died")
					}
					w.want(w.send(args, names.first), mcpcall.Uncertain)
					w.restart()
					word := w.want(w.send(args, names.second), mcpcall.Uncertain)
					if !word.MayRun || word.NextStep != mcpcall.StepPerson || word.RequestID == "" {
						t.Errorf("%+v", word)
					}
					w.wantRuns(1)
				})
			})
			t.Run("refused may be tried again", func(t *testing.T) {
				bothStores(t, "tools: [{name: pay, is_error: refused}]", func(w *world) {
					no := mcpcall.Reply{Result: json.RawMessage(`{"isError":true,"content":[]}`)}
					w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) { return no, nil }
					w.wantSame(w.delivered(args, names.first), no)
					w.restart()
					w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) { return done(n), nil }
					w.wantSame(w.send(args, names.second), done(2))
					w.wantRuns(2)
				})
			})
			t.Run("surely not executed may be tried again", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
						return mcpcall.Reply{}, onceguard.NotExecuted(errors.New("cannot start the server"))
					}
					w.want(w.send(args, names.first), mcpcall.NotRun)
					w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) { return done(n), nil }
					w.wantSame(w.send(args, names.second), done(2))
					w.wantRuns(2)
				})
			})
		})
	}
}

// TestSameCallID: a host's id of a call always means the same receipt.
func TestSameCallID(t *testing.T) {
	bothStores(t, "", func(w *world) {
		first := w.delivered(`{"a":1}`, claude("x"))
		w.restart()
		again := w.send(`{ "a": 1.0 }`, claude("x"))
		w.want(again, mcpcall.Replayed)
		w.wantSame(again, first)
		word := w.want(w.send(`{"a":2}`, claude("x")), mcpcall.Conflict)
		if word.RequestID != "" || word.FirstAt != "" || word.State != "" {
			t.Errorf("a conflict tells about the other call: %+v", word)
		}
		w.wantRuns(1)
	})
}

// TestCallIDKeepsItsOccurrence: a call id bound to the first occurrence does not
// move to a later one.
func TestCallIDKeepsItsOccurrence(t *testing.T) {
	bothStores(t, "tools: [{name: pay, repeat: new}]", func(w *world) {
		first := w.delivered(`{"a":1}`, claude("x"))
		second := w.delivered(`{"a":1}`, claude("y"))
		w.wantRuns(2)
		w.restart()
		w.wantSame(w.send(`{"a":1}`, claude("x")), first)
		w.wantSame(w.send(`{"a":1}`, claude("y")), second)
		w.wantRuns(2)
	})
}

// TestLongChains: repeats beyond the first are found by doubling, in any number.
func TestLongChains(t *testing.T) {
	bothStores(t, "tools: [{name: pay, repeat: new}]", func(w *world) {
		const n = 21
		var last mcpcall.Reply
		for range n {
			last = w.delivered(`{"a":1}`, "")
		}
		w.wantRuns(n)
		if err := w.gate.Close(w.ctx); err != nil {
			t.Error(err)
		}
		// The next one is not delivered: its retry is a retry of that one.
		w.send(`{"a":1}`, "")
		w.restart()
		again := w.send(`{"a":1}`, "")
		w.want(again, mcpcall.Replayed)
		if string(again.Result) == string(last.Result) || string(again.Result) != string(done(n+1).Result) {
			t.Errorf("%s", again.Result)
		}
		w.wantRuns(n + 1)
	})
}

func TestExplicitKeys(t *testing.T) {
	for name, tt := range map[string]struct {
		policy string
		call   func(key string) mcpcall.Call
	}{
		"our _meta": {"", func(k string) mcpcall.Call {
			return mcpcall.Call{Params: params("pay", `{"a":1}`, `{"io.github.onceguard/key":`+quoted(k)+`}`)}
		}},
		"SEP-3182": {"", func(k string) mcpcall.Call {
			return mcpcall.Call{Params: params("pay", `{"a":1}`, `{"idempotencyKey":`+quoted(k)+`}`)}
		}},
		"header": {"", func(k string) mcpcall.Call {
			return mcpcall.Call{Params: params("pay", `{"a":1}`, ""), Header: http.Header{"Idempotency-Key": {quoted(k)}}}
		}},
		"policy's _meta": {"tools: [{name: pay, identity: {meta: com.example/op}}]", func(k string) mcpcall.Call {
			return mcpcall.Call{Params: params("pay", `{"a":1}`, `{"com.example/op":`+quoted(k)+`}`)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, tt.policy, func(w *world) {
				first := w.do(tt.call("k1"))
				w.told(first)
				w.restart()
				w.wantSame(w.do(tt.call("k1")), first)
				w.wantRuns(1)
				w.wantSame(w.do(tt.call("k2")), done(2)) // another intention, without a question
				w.wantRuns(2)
				other := tt.call("k1")
				other.Params = json.RawMessage(strings.Replace(string(other.Params), `"a":1`, `"a":2`, 1))
				w.want(w.do(other), mcpcall.Conflict)
				w.wantRuns(2)
			})
		})
	}
	t.Run("two names of two receipts", func(t *testing.T) {
		bothStores(t, "", func(w *world) {
			w.send(`{"a":1}`, `{"idempotencyKey":"k1","claudecode/toolUseId":"c1"}`)
			w.send(`{"a":1}`, `{"idempotencyKey":"k2","claudecode/toolUseId":"c2"}`)
			w.want(w.send(`{"a":1}`, `{"idempotencyKey":"k1","claudecode/toolUseId":"c2"}`), mcpcall.Conflict)
			w.wantRuns(2)
		})
	})
	t.Run("a key over a call whose answer nobody has", func(t *testing.T) {
		bothStores(t, "", func(w *world) {
			first := w.send(`{"a":1}`, "")
			w.wantSame(w.send(`{"a":1}`, `{"idempotencyKey":"k1"}`), first)
			w.wantRuns(1)
		})
	})
}

// TestBusinessKey: other words for the same business are drift.
func TestBusinessKey(t *testing.T) {
	const policy = `
tools:
  - name: pay
    identity: {key: [/order/id], ignore: [/note], show_values: [/cents]}
`
	bothStores(t, policy, func(w *world) {
		first := w.delivered(`{"order":{"id":"A-1"},"cents":500,"note":"x","to":"ann"}`, claude("c1"))
		w.restart()
		// Only what is ignored differs.
		w.want(w.send(`{"order":{"id":"A-1"},"cents":500,"note":"again","to":"ann"}`, claude("c2")), mcpcall.Repeat)
		for name, meta := range map[string]string{"new id": claude("c3"), "no id": "", "new key": `{"idempotencyKey":"k9"}`} {
			r := w.send(`{"order":{"id":"A-1"},"cents":600,"to":"bob","vip":true}`, meta)
			word := w.want(r, mcpcall.Drift)
			if got := strings.Join(word.ChangedFields, " "); got != "/cents /to /vip" {
				t.Errorf("%s: changed %q", name, got)
			}
			if v := word.EarlierValues["/cents"]; v != 500.0 || len(word.EarlierValues) != 1 {
				t.Errorf("%s: earlier values %v", name, word.EarlierValues)
			}
			if strings.Contains(string(r.Result), "ann") {
				t.Errorf("%s: the drift shows a value that the policy does not: %s", name, r.Result)
			}
			if word.RequestID != first.Handle.RequestID().String() {
				t.Errorf("%s: the drift does not name the earlier receipt", name)
			}
		}
		w.want(w.send(`{"order":{"id":"A-2"},"cents":600,"to":"bob"}`, claude("c4")), "")
		w.wantRuns(2)
		bad := w.send(`{"order":{}}`, "")
		if !strings.Contains(string(bad.Error), "-32602") || !strings.Contains(string(bad.Error), "/order/id") {
			t.Errorf("%s", bad.Error)
		}
		w.wantRuns(2)
	})
	t.Run("drift while the first is unknown or runs", func(t *testing.T) {
		bothStores(t, policy, func(w *world) {
			started, release := make(chan bool), make(chan bool)
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
				started <- true
				<-release
				return mcpcall.Reply{}, errors.New("gone")
			}
			first := make(chan mcpcall.Reply, 1)
			go func() {
				first <- w.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", `{"order":{"id":"A"},"cents":1}`, "")}, w.up)
			}()
			await(t, started)
			w.want(w.send(`{"order":{"id":"A"},"cents":2}`, ""), mcpcall.Drift)
			close(release)
			w.want(await(t, first), mcpcall.Uncertain)
			w.want(w.send(`{"order":{"id":"A"},"cents":2}`, ""), mcpcall.Drift)
			w.want(w.send(`{"order":{"id":"A"},"cents":1}`, ""), mcpcall.Uncertain)
			w.wantRuns(1)
		})
	})
	t.Run("template", func(t *testing.T) {
		bothStores(t, `tools: [{name: pay, identity: {template: "o-{/order}/{/line}"}}]`, func(w *world) {
			w.delivered(`{"order":1,"line":2,"x":1}`, "")
			w.want(w.send(`{"order":1,"line":2,"x":2}`, ""), mcpcall.Drift)
			w.want(w.send(`{"order":1,"line":3,"x":2}`, ""), "")
			w.wantRuns(2)
		})
	})
}

// TestPrincipals: receipts of one principal are invisible to another.
func TestPrincipals(t *testing.T) {
	bothStores(t, "", func(w *world) {
		call := mcpcall.Call{Params: params("pay", `{"a":1}`, claude("x")), Principal: "secret-token-a"}
		first := w.do(call)
		w.told(first)
		call.Principal = "secret-token-b"
		w.wantSame(w.do(call), done(2))
		w.wantRuns(2)
		ask := params("onceguard_status", `{"request_id":`+quoted(first.Handle.RequestID().String())+`}`, "")
		if r := w.gate.Helper(w.ctx, "secret-token-b", ask); !strings.Contains(string(r.Result), "There is no such call") {
			t.Errorf("another principal is told %s", r.Result)
		}
		if r := w.gate.Helper(w.ctx, "secret-token-a", ask); !strings.Contains(string(r.Result), "pay succeeded") {
			t.Errorf("%s", r.Result)
		}
		page, err := w.store.List(w.ctx, onceguard.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range page.Records {
			if strings.Contains(rec.Scope+rec.Key, "secret") {
				t.Errorf("the store has a principal's name: %s %s", rec.Scope, rec.Key)
			}
		}
	})
}
