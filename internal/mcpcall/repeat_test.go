package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

const withToken = `{"a":1,"onceguard_repeat":%}`

func redeem(args, token string) string { return strings.Replace(args, "%", quoted(token), 1) }

// TestRepeatToken: a token means the next occurrence, on every retry.
func TestRepeatToken(t *testing.T) {
	for name, sent := range map[string]func(token string) (args, meta string){
		"argument": func(token string) (string, string) { return redeem(withToken, token), "" },
		"_meta": func(token string) (string, string) {
			return `{"a":1}`, `{"io.github.onceguard/repeat":` + quoted(token) + `}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, "", func(w *world) {
				w.delivered(`{"a":1}`, "")
				token := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat).RepeatToken
				w.restart()
				second := w.send(sent(token))
				w.want(second, "")
				w.wantRuns(2)
				if got := string(w.calls[1]); strings.Contains(got, "repeat") || !strings.HasPrefix(got, `{"name":"pay","arguments":{"a":1}`) {
					t.Errorf("forwarded %s", got)
				}
				w.restart()
				w.wantSame(w.send(sent(token)), second) // a retry of the repeat
				w.told(second)
				again := w.send(sent(token))
				w.want(again, mcpcall.Replayed)
				if !strings.Contains(string(again.Result), "done 2") {
					t.Errorf("%s", again.Result)
				}
				next := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
				if next.RepeatToken == token || next.RequestID != second.Handle.RequestID().String() {
					t.Errorf("the stop after the repeat is %+v", next)
				}
				w.wantRuns(2)
			})
		})
	}
}

// TestTokensOfOtherCalls: a token is good for one principal, tool and content.
func TestTokensOfOtherCalls(t *testing.T) {
	bothStores(t, "", func(w *world) {
		w.delivered(`{"a":1}`, "")
		token := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat).RepeatToken
		w.delivered(`{"a":2}`, "")
		runs := w.runs()
		other := w.do(mcpcall.Call{Params: params("pay", `{"a":1}`, ""), Principal: "p"})
		w.told(other)
		runs++
		for name, c := range map[string]mcpcall.Call{
			"other arguments": {Params: params("pay", `{"a":2,"onceguard_repeat":`+quoted(token)+`}`, "")},
			"other principal": {Params: params("pay", redeem(withToken, token), ""), Principal: "p"},
			"other number":    {Params: params("pay", redeem(withToken, strings.Replace(token, "again-1-", "again-2-", 1)), "")},
			"cut":             {Params: params("pay", redeem(withToken, token[:len(token)-1]), "")},
			"made up":         {Params: params("pay", redeem(withToken, "again-0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), "")},
			"nonsense":        {Params: params("pay", redeem(withToken, "please"), "")},
			"negative":        {Params: params("pay", redeem(withToken, "again--1-x"), "")},
		} {
			r := w.do(c)
			if w.want(r, mcpcall.Repeat); !strings.Contains(string(r.Result), "not one for this call") {
				t.Errorf("%s: the model is not told: %s", name, r.Result)
			}
		}
		w.wantRuns(runs)
		r := w.send(`{"a":1,"onceguard_repeat":7}`, "")
		w.want(r, mcpcall.Invalid)
		w.wantRuns(runs)
	})
}

// TestRepeatModes: what each mode does about a delivered call.
func TestRepeatModes(t *testing.T) {
	t.Run("replay", func(t *testing.T) {
		bothStores(t, "tools: [{name: pay, repeat: replay}]", func(w *world) {
			first := w.delivered(`{"a":1}`, claude("x"))
			r := w.send(`{"a":1}`, claude("y"))
			word := w.want(r, mcpcall.Replayed)
			if word.Verdict != mcpcall.Replayed || word.RequestID != first.Handle.RequestID().String() {
				t.Errorf("%+v", word)
			}
			// But for our note every byte is as it was.
			plain := string(first.Result)
			cut := strings.LastIndex(plain, " }")
			if !strings.HasPrefix(string(r.Result), plain[:cut]+`,"_meta":{"io.github.onceguard/receipt":{`) || !strings.HasSuffix(string(r.Result), "}} }") {
				t.Errorf("%s", r.Result)
			}
			w.wantSame(w.send(`{"a":1}`, claude("x")), first)
			w.wantRuns(1)
		})
	})
	t.Run("same turn", func(t *testing.T) {
		bothStores(t, "", func(w *world) {
			w.delivered(`{"a":1}`, `{"vscode.requestId":"t1"}`)
			if word := w.want(w.send(`{"a":1}`, `{"vscode.requestId":"t1"}`), mcpcall.Replayed); word.RequestID == "" {
				t.Error("a stutter is replayed without a note")
			}
			w.want(w.send(`{"a":1}`, `{"vscode.requestId":"t2"}`), mcpcall.Repeat)
			w.wantRuns(1)
			w.delivered(`{"a":2}`, `{"x-codex-turn-metadata":{"turn_id":"t1","model":"m"}}`)
			w.want(w.send(`{"a":2}`, `{"x-codex-turn-metadata":{"turn_id":"t1"}}`), mcpcall.Replayed)
			w.want(w.send(`{"a":2}`, `{"x-codex-turn-metadata":{"turn_id":"t2"}}`), mcpcall.Repeat)
			w.want(w.send(`{"a":2}`, `{"x-codex-turn-metadata":{}}`), mcpcall.Repeat)
			w.wantRuns(2)
		})
	})
	t.Run("money", func(t *testing.T) {
		bothStores(t, "tools: [{name: pay, repeat: money}]", func(w *world) {
			first := w.delivered(`{"a":1}`, "")
			r := w.send(`{"a":1}`, "")
			word := w.want(r, mcpcall.Repeat)
			id := first.Handle.RequestID()
			if word.RepeatToken != "" || word.AllowCommand != "onceguard mcp repeat "+id.String() || word.NextStep != mcpcall.StepPerson {
				t.Errorf("%+v", word)
			}
			// Not even a token that is right helps.
			ask := newWorld(t, w.store, "")
			token := ask.want(ask.send(`{"a":1}`, ""), mcpcall.Repeat).RepeatToken
			w.want(w.send(redeem(withToken, token), ""), mcpcall.Repeat)
			w.wantRuns(1)
			if err := mcpcall.Redeem(w.ctx, w.guard, id, "", "why"); err == nil {
				t.Error("nobody may repeat")
			}
			if err := mcpcall.Redeem(w.ctx, w.guard, id, "ann", "asked twice"); err != nil {
				t.Fatal(err)
			}
			w.restart()
			second := w.delivered(`{"a":1}`, "")
			w.want(second, "")
			w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
			w.wantRuns(2)
			if err := mcpcall.Redeem(w.ctx, w.guard, id, "ann", "again"); err == nil || !strings.Contains(err.Error(), "repeated already") {
				t.Errorf("%v", err)
			}
			if err := mcpcall.Redeem(w.ctx, w.guard, onceguard.RequestID{1}, "ann", "x"); err == nil {
				t.Error("an unknown receipt can be repeated")
			}
			list, err := w.store.Evidence(w.ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			if s := evidence(list); !strings.Contains(s, "mcp-repeat operator:ann asked twice") {
				t.Errorf("%s", s)
			}
		})
	})
	t.Run("money, asked", func(t *testing.T) {
		yes, asked := false, 0
		bothStores(t, "tools: [{name: pay, repeat: money}]", func(w *world) {
			yes, asked = false, 0
			w.delivered(`{"a":1}`, "")
			w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
			yes = true
			w.want(w.delivered(`{"a":1}`, ""), "")
			yes = false
			w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
			w.wantRuns(2)
			if asked != 3 {
				t.Errorf("asked %d times", asked)
			}
		}, func(o *mcpcall.Options) {
			o.Elicit = func(_ context.Context, c mcpcall.Call, q mcpcall.Question) (bool, error) {
				asked++
				if q.Tool != "pay" || q.RequestID.IsZero() || strings.Contains(q.Message, "1}") {
					t.Errorf("%+v", q)
				}
				return yes, nil
			}
		})
	})
}

func evidence(list []onceguard.Evidence) string {
	var b strings.Builder
	for _, e := range list {
		b.WriteString(string(e.Kind) + " " + e.By + " " + e.Detail + "\n")
	}
	return b.String()
}

// TestConcurrent: however many equal calls come at once, the tool runs once.
func TestConcurrent(t *testing.T) {
	for name, tt := range map[string]struct {
		meta func(i int) string
		runs int
	}{
		"no names":  {func(int) string { return "" }, 1},
		"one id":    {func(int) string { return claude("x") }, 1},
		"many ids":  {func(i int) string { return claude(string(rune('a' + i))) }, 1},
		"many keys": {func(i int) string { return `{"idempotencyKey":"k` + string(rune('a'+i)) + `"}` }, 8},
		"one key":   {func(int) string { return `{"idempotencyKey":"k"}` }, 1},
		"one key, ids": {func(i int) string {
			return `{"idempotencyKey":"k","claudecode/toolUseId":"` + string(rune('a'+i)) + `"}`
		}, 1},
		"one id, a turn": {func(int) string { return `{"claudecode/toolUseId":"x","x-codex-turn-metadata":{"turn_id":"7"}}` }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, "", func(w *world) {
				other := newWorld(t, w.store, "") // a second process
				other.answer = func(ctx context.Context, _ int, p json.RawMessage) (mcpcall.Reply, error) { return w.up(ctx, p, nil) }
				release := make(chan bool)
				w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
					<-release
					return done(n), nil
				}
				var wg sync.WaitGroup
				replies := make([]mcpcall.Reply, 8)
				begun := make(chan bool, 8)
				for i := range replies {
					wg.Go(func() {
						at := []*world{w, other}[i%2]
						begun <- true
						replies[i] = at.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", `{"a":1}`, tt.meta(i))}, at.up)
					})
				}
				for range replies {
					await(t, begun)
				}
				close(release)
				wg.Wait()
				w.wantRuns(tt.runs)
				for i, r := range replies {
					if !strings.Contains(string(r.Result), `"text":"done `) {
						t.Errorf("call %d: %s%s", i, r.Result, r.Error)
					}
				}
			})
		})
	}
}

// TestClientLeaves: a call that was forwarded goes on and settles.
func TestClientLeaves(t *testing.T) {
	for name, policy := range map[string]string{"stays": "", "cancel-safe": "tools: [{name: pay, cancel_safe: true}]"} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, policy, func(w *world) {
				started, release, told := make(chan bool), make(chan bool), make(chan bool)
				ended := make(chan error, 1)
				w.answer = func(ctx context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
					started <- true
					select {
					case <-release:
					case <-ctx.Done():
						ended <- context.Cause(ctx)
						<-told
						return mcpcall.Reply{}, ctx.Err()
					}
					return done(n), nil
				}
				ctx, leave := context.WithCancelCause(w.ctx)
				first := make(chan mcpcall.Reply, 1)
				go func() { first <- w.gate.Do(ctx, mcpcall.Call{Params: params("pay", `{"a":1}`, "")}, w.up) }()
				await(t, started)
				gone := errors.New("the client left")
				leave(gone)
				w.want(await(t, first), mcpcall.InFlight)
				close(told)
				if policy != "" {
					if err := await(t, ended); !errors.Is(err, gone) {
						t.Errorf("the upstream's context ended with %v", err)
					}
					if err := w.gate.Close(w.ctx); err != nil {
						t.Fatal(err)
					}
					w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
					w.wantRuns(1)
					return
				}
				again := make(chan mcpcall.Reply, 1)
				go func() { again <- w.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", `{"a":1}`, "")}, w.up) }()
				close(release)
				w.wantSame(await(t, again), done(1))
				if err := w.gate.Close(w.ctx); err != nil {
					t.Fatal(err)
				}
				w.wantRuns(1)
			})
		})
	}
}

// TestAnswerWithin: a slow first call is told in time that it runs.
func TestAnswerWithin(t *testing.T) {
	bothStores(t, "tools: [{name: pay, answer_within: 1ms}]", func(w *world) {
		release := make(chan bool)
		w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
			<-release
			return done(n), nil
		}
		word := w.want(w.send(`{"a":1}`, ""), mcpcall.InFlight)
		if word.RequestID == "" || !word.MayRun || word.RetryAfter == 0 {
			t.Errorf("%+v", word)
		}
		close(release)
		if err := w.gate.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		// The bound holds for the replay too; it is there sooner or later.
		r := w.send(`{"a":1}`, "")
		for r.Verdict == mcpcall.InFlight && w.ctx.Err() == nil {
			r = w.send(`{"a":1}`, "")
		}
		w.wantSame(r, done(1))
		w.wantRuns(1)
	})
}
