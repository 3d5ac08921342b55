package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/mcpcall"
)

// asks is a server that asks for input, some times, and then acts.
func asks(times int, states ...string) func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
	return func(_ context.Context, n int, p json.RawMessage) (mcpcall.Reply, error) {
		if n > times {
			return done(n), nil
		}
		state := ""
		if n <= len(states) {
			state = `,"requestState":` + quoted(states[n-1])
		}
		return mcpcall.Reply{Result: json.RawMessage(fmt.Sprintf(`{"resultType":"input_required","inputRequests":{"q%d":{}}%s}`, n, state))}, nil
	}
}

// answerTo is a call that answers a question.
func answerTo(state, responses string) mcpcall.Call {
	p := `{"name":"pay","arguments":{"a":1},"inputResponses":` + responses
	if state != "" {
		p += `,"requestState":` + quoted(state)
	}
	return mcpcall.Call{Params: json.RawMessage(p + "}")}
}

// TestInputRequired: a question is a continuation, not a receipt.
func TestInputRequired(t *testing.T) {
	for name, states := range map[string][]string{"state": {"s1", "s2"}, "the same state": {"s", "s"}, "no state": nil} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, "", func(w *world) {
				w.answer = asks(2, states...)
				state := func(n int) string {
					if states == nil {
						return ""
					}
					return states[n]
				}
				first := w.send(`{"a":1}`, claude("c"))
				if first.Verdict != "" || !strings.Contains(string(first.Result), "q1") {
					t.Fatalf("%+v", first)
				}
				w.restart()
				w.told(first)
				// The question again, to whoever asks again.
				for _, meta := range []string{claude("c"), claude("d"), ""} {
					r := w.send(`{"a":1}`, meta)
					w.want(r, mcpcall.Awaiting)
					w.wantSame(r, first)
				}
				w.wantRuns(1)

				second := w.do(answerTo(state(0), `{"q1":1}`))
				if !strings.Contains(string(second.Result), "q2") {
					t.Fatalf("%s", second.Result)
				}
				w.wantRuns(2)
				w.restart()
				w.wantSame(w.do(answerTo(state(0), `{"q1":1}`)), second) // re-issued
				if name == "state" {                                     // else it may be an answer to the next question
					w.want(w.do(answerTo(state(0), `{"q1":2}`)), mcpcall.Conflict)
				}
				w.want(w.send(`{"a":1}`, claude("c")), mcpcall.Awaiting)
				w.wantRuns(2)

				third := w.do(answerTo(state(1), `{"q2":1}`))
				w.wantSame(third, done(3))
				w.restart()
				w.wantSame(w.do(answerTo(state(1), `{"q2":1}`)), done(3))
				w.wantSame(w.send(`{"a":1}`, claude("c")), done(3)) // the first call, re-issued late
				again := w.send(`{"a":1}`, claude("e"))
				w.want(again, mcpcall.Replayed)
				w.wantSame(again, done(3))
				w.told(third)
				w.want(w.send(`{"a":1}`, claude("f")), mcpcall.Repeat)
				w.wantRuns(3)
			})
		})
	}
}

// TestUnknownRound: a round with unknown outcome blocks the whole call.
func TestUnknownRound(t *testing.T) {
	bothStores(t, "", func(w *world) {
		w.answer = func(ctx context.Context, n int, p json.RawMessage) (mcpcall.Reply, error) {
			if n == 2 {
				return mcpcall.Reply{}, errors.New("the stream broke")
			}
			return asks(1, "s1")(ctx, n, p)
		}
		w.send(`{"a":1}`, claude("c"))
		w.want(w.do(answerTo("s1", `{"q1":1}`)), mcpcall.Uncertain)
		w.restart()
		w.want(w.do(answerTo("s1", `{"q1":1}`)), mcpcall.Uncertain)
		w.want(w.send(`{"a":1}`, claude("c")), mcpcall.Uncertain)
		w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
		w.wantRuns(2)
	})
	t.Run("refused before work", func(t *testing.T) {
		bothStores(t, "", func(w *world) {
			w.answer = func(ctx context.Context, n int, p json.RawMessage) (mcpcall.Reply, error) {
				if n == 2 {
					return mcpcall.Reply{Error: json.RawMessage(`{"code":-32602,"message":"try again"}`)}, nil
				}
				return asks(1, "s1")(ctx, n, p)
			}
			first := w.send(`{"a":1}`, "")
			if r := w.do(answerTo("s1", `{"q1":1}`)); !strings.Contains(string(r.Error), "try again") {
				t.Errorf("%s%s", r.Result, r.Error)
			}
			w.wantSame(w.send(`{"a":1}`, ""), first) // the question stands
			w.wantSame(w.do(answerTo("s1", `{"q1":1}`)), done(3))
			w.wantRuns(3)
		})
	})
}

// TestQuestionNobodyKnows: a state from before this store runs once.
func TestQuestionNobodyKnows(t *testing.T) {
	bothStores(t, "", func(w *world) {
		first := w.do(answerTo("old", `{"q":1}`))
		w.wantSame(first, done(1))
		w.restart()
		w.wantSame(w.do(answerTo("old", `{"q":1}`)), first)
		w.want(w.do(answerTo("old", `{"q":2}`)), mcpcall.Conflict)
		w.wantRuns(1)
	})
}

// TestTasks: a task handle is "in progress" until the task has ended.
func TestTasks(t *testing.T) {
	const final = `{"content":[{"type":"text","text":"paid"}]}`
	handles := map[string]string{
		"2025-11-25": `{"task":{"taskId":"t-1","status":"working"}}`,
		"SEP-2663":   `{"resultType":"task","taskId":"t-1","status":"working"}`,
	}
	for name, handle := range handles {
		t.Run(name, func(t *testing.T) {
			for end, tt := range map[string]struct {
				policy, method, result string
				want                   mcpcall.Verdict
			}{
				"result":           {"", "tasks/result", final, mcpcall.Replayed},
				"inline":           {"", "tasks/get", `{"taskId":"t-1","status":"completed","result":` + final + `}`, mcpcall.Replayed},
				"working":          {"", "tasks/get", `{"taskId":"t-1","status":"working"}`, mcpcall.InProgress},
				"completed alone":  {"", "tasks/get", `{"taskId":"t-1","status":"completed"}`, mcpcall.InProgress},
				"failed":           {"", "tasks/get", `{"taskId":"t-1","status":"failed"}`, mcpcall.InProgress},
				"isError":          {"", "tasks/result", `{"isError":true,"content":[]}`, mcpcall.InProgress},
				"isError, refused": {"tools: [{name: pay, is_error: refused}]", "tasks/result", `{"isError":true,"content":[]}`, mcpcall.Refused},
				"rerun":            {"tools: [{name: pay, policy: rerun}]", "tasks/get", `{"taskId":"t-1","status":"working"}`, mcpcall.InProgress},
			} {
				t.Run(end, func(t *testing.T) {
					memoryAnd(t, end == "result", tt.policy, func(w *world) {
						w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
							return mcpcall.Reply{Result: json.RawMessage(handle)}, nil
						}
						first := w.send(`{"a":1}`, claude("c"))
						if string(first.Result) != handle || first.Verdict != "" {
							t.Fatalf("%+v", first)
						}
						w.told(first)
						w.restart()
						for _, meta := range []string{claude("c"), claude("d"), ""} {
							r := w.send(`{"a":1}`, meta)
							w.want(r, mcpcall.InProgress)
							w.wantSame(r, first)
						}
						err := w.gate.Task(w.ctx, "", tt.method, json.RawMessage(`{"taskId":"t-1"}`), json.RawMessage(tt.result))
						if err != nil {
							t.Fatal(err)
						}
						w.restart()
						r := w.send(`{"a":1}`, claude("c"))
						w.want(r, tt.want)
						if tt.want == mcpcall.Replayed && string(r.Result) != final {
							t.Errorf("%s", r.Result)
						}
						w.wantRuns(1)
					})
				})
			}
		})
	}
	t.Run("two with one id", func(t *testing.T) {
		bothStores(t, "", func(w *world) {
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
				return mcpcall.Reply{Result: json.RawMessage(handles["SEP-2663"])}, nil
			}
			w.send(`{"a":1}`, "")
			w.send(`{"a":2}`, "")
			if err := w.gate.Task(w.ctx, "", "tasks/result", json.RawMessage(`{"taskId":"t-1"}`), json.RawMessage(final)); err == nil {
				t.Error("one of two receipts was settled, or the other")
			}
			w.want(w.send(`{"a":1}`, ""), mcpcall.InProgress)
		})
	})
	t.Run("another principal's", func(t *testing.T) {
		bothStores(t, "", func(w *world) {
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
				return mcpcall.Reply{Result: json.RawMessage(handles["SEP-2663"])}, nil
			}
			w.send(`{"a":1}`, "")
			if err := w.gate.Task(w.ctx, "mallory", "tasks/result", json.RawMessage(`{"taskId":"t-1"}`), json.RawMessage(final)); err != nil {
				t.Fatal(err)
			}
			w.want(w.send(`{"a":1}`, ""), mcpcall.InProgress)
		})
	})
}
