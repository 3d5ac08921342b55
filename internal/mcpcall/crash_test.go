package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/memstore"
)

// mortal is a store as a process sees it that dies at its nth call to the
// store: before the call took effect, or after it and before its answer. From
// then on nothing that the process does arrives.
type mortal struct {
	onceguard.Store
	left  atomic.Int64 // calls until death
	after bool         // the fatal call takes effect
}

var errDead = &onceguard.StoreError{Op: "any", Permanent: true, Err: errors.New("the process is dead")}

// dying runs f unless the process is dead, and reports whether its answer is
// heard.
func (m *mortal) dying(f func()) bool {
	left := m.left.Add(-1)
	if left > 0 || left == 0 && m.after {
		f()
	}
	return left > 0
}

func mortally[T any](m *mortal, f func() (T, error)) (v T, err error) {
	if !m.dying(func() { v, err = f() }) {
		var none T
		return none, errDead
	}
	return v, err
}

func (m *mortal) Claim(ctx context.Context, c []onceguard.Claim) ([]onceguard.Answer, error) {
	return mortally(m, func() ([]onceguard.Answer, error) { return m.Store.Claim(ctx, c) })
}

func (m *mortal) Settle(ctx context.Context, c []onceguard.Settlement) ([]onceguard.Answer, error) {
	return mortally(m, func() ([]onceguard.Answer, error) { return m.Store.Settle(ctx, c) })
}

func (m *mortal) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	return mortally(m, func() ([]onceguard.Answer, error) { return m.Store.Get(ctx, ids) })
}

func (m *mortal) Import(ctx context.Context, r []onceguard.Record) ([]onceguard.Answer, error) {
	return mortally(m, func() ([]onceguard.Answer, error) { return m.Store.Import(ctx, r) })
}

func (m *mortal) Checkpoint(ctx context.Context, c onceguard.Checkpoint) (onceguard.Answer, error) {
	return mortally(m, func() (onceguard.Answer, error) { return m.Store.Checkpoint(ctx, c) })
}

func (m *mortal) Evidence(ctx context.Context, id onceguard.RequestID) ([]onceguard.Evidence, error) {
	return mortally(m, func() ([]onceguard.Evidence, error) { return m.Store.Evidence(ctx, id) })
}

func (m *mortal) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	_, err := mortally(m, func() (bool, error) { return true, m.Store.AppendEvidence(ctx, e) })
	return err
}

// TestDeathAtEveryStoreCall kills the process at every call that it makes to the
// store, in both truths, restarts it and lets the client make its calls again:
// under the same names, and under new ones. No intention ever has two effects,
// and what a client was told is what it is told again.
func TestDeathAtEveryStoreCall(t *testing.T) {
	const args = `{"order":"A","cents":1}`
	token := func(w *world) string {
		word := w.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", args, "")}, w.up)
		var r struct {
			Meta map[string]mcpcall.Word `json:"_meta"`
		}
		_ = json.Unmarshal(word.Result, &r)
		return r.Meta[mcpcall.MetaWord].RepeatToken
	}
	type client struct {
		runs int // at most
		play func(w *world, again string) []mcpcall.Reply
	}
	one := func(meta func(again string) string) client {
		return client{1, func(w *world, again string) []mcpcall.Reply { return []mcpcall.Reply{w.send(args, meta(again))} }}
	}
	clients := map[string]client{
		"same call id":  one(func(string) string { return claude("c") }),
		"new call id":   one(func(again string) string { return claude("c" + again) }),
		"no names":      one(func(string) string { return "" }),
		"explicit key":  one(func(string) string { return `{"idempotencyKey":"k"}` }),
		"key, then not": one(func(again string) string { return map[string]string{"": `{"idempotencyKey":"k"}`}[again] }),
		"both":          one(func(again string) string { return `{"idempotencyKey":"k","claudecode/toolUseId":"c` + again + `"}` }),
		"a question": {2, func(w *world, _ string) []mcpcall.Reply {
			w.answer = asks(1, "s")
			first := w.send(args, claude("c"))
			if !strings.Contains(string(first.Result), "input_required") {
				return []mcpcall.Reply{first}
			}
			p := strings.Replace(string(answerTo("s", `{"q1":1}`).Params), `{"a":1}`, args, 1)
			return []mcpcall.Reply{w.do(mcpcall.Call{Params: json.RawMessage(p)})}
		}},
		"a token": {2, func(w *world, _ string) []mcpcall.Reply {
			first := w.send(args, claude("c"))
			_ = w.gate.Delivered(w.ctx, first.Handle)
			word := token(w)
			if word == "" {
				return []mcpcall.Reply{first}
			}
			return []mcpcall.Reply{first, w.send(`{"order":"A","cents":1,"onceguard_repeat":`+quoted(word)+`}`, claude("d"))}
		}},
	}
	for _, policy := range []string{"", "tools: [{name: pay, identity: {key: [/order]}}]"} {
		for name, cl := range clients {
			t.Run(fmt.Sprintf("%s business=%v", name, policy != ""), func(t *testing.T) {
				deaths, reruns := 0, 0
				for n := int64(1); ; n++ {
					alive := 0
					for _, after := range []bool{false, true} {
						now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
						m := &mortal{Store: memstore.New(memstore.Options{Now: func() time.Time { return now }}), after: after}
						m.left.Store(1 << 40)
						w := newWorld(t, m, policy)
						g, err := onceguard.New(w.ctx, m, onceguard.Options{SettleWait: time.Millisecond, Observer: onceguard.SlogObserver(w.opts.Log), Process: "-"})
						if err != nil {
							t.Fatal(err)
						}
						if w.gate, err = mcpcall.New(w.ctx, g, w.pol, w.opts); err != nil {
							t.Fatal(err)
						}
						m.left.Store(n)
						told := cl.play(w, "")
						if m.left.Load() > 0 {
							alive++
						} else {
							deaths++
						}
						before := w.runs()
						stopped, stop := context.WithCancel(w.ctx)
						stop()
						_ = g.Close(stopped)

						w.store = m.Store
						now = now.Add(2 * onceguard.DefaultLease)
						w.restart()
						again := cl.play(w, "-again")
						_ = cl.play(w, "-third")
						if w.runs() > cl.runs {
							t.Fatalf("death at call %d, after=%v: %d runs, %d before the restart", n, after, w.runs(), before)
						}
						if w.runs() > before {
							reruns++
						}
						if m.left.Load() > 0 {
							continue
						}
						for i := range min(len(told), len(again)) {
							if succeeded(told[i]) && succeeded(again[i]) && string(told[i].Result) != string(again[i].Result) {
								t.Fatalf("death at call %d, after=%v: told %s, then %s", n, after, told[i].Result, again[i].Result)
							}
						}
					}
					if alive == 2 {
						break
					}
				}
				if deaths < 6 || reruns == 0 {
					t.Errorf("%d deaths, and %d of them left something to run: the test sees too little", deaths, reruns)
				}
			})
		}
	}
}

// succeeded reports whether a reply has the tool's own result.
func succeeded(r mcpcall.Reply) bool {
	return strings.Contains(string(r.Result), `"text":"done `) && !strings.Contains(string(r.Result), mcpcall.MetaWord)
}
