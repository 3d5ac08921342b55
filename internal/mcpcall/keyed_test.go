package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/memstore"
)

// TestKeyedThenNot: a call without a key is compared with equal ones that had
// one, the strictest first.
func TestKeyedThenNot(t *testing.T) {
	const args = `{"a":1}`
	key := func(k string) string { return `{"idempotencyKey":` + quoted(k) + `}` }
	lost := func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
		return mcpcall.Reply{}, errors.New("lost")
	}
	for name, meta := range map[string]string{"no names": "", "a host call id": claude("c")} {
		t.Run(name, func(t *testing.T) {
			t.Run("not delivered", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					first := w.send(args, key("k1"))
					w.delivered(args, key("k2"))
					w.restart()
					r := w.send(args, meta)
					w.want(r, mcpcall.Replayed)
					w.wantSame(r, first)
					w.wantRuns(2)
				})
			})
			t.Run("delivered", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					w.delivered(args, key("k1"))
					second := w.delivered(args, key("k2"))
					w.restart()
					word := w.want(w.send(args, meta), mcpcall.Repeat)
					if word.RequestID != second.Handle.RequestID().String() {
						t.Error("not the latest")
					}
					third := w.send(redeem(withToken, word.RepeatToken), "")
					w.want(third, "")
					w.wantSame(w.send(redeem(withToken, word.RepeatToken), ""), third)
					w.told(third)
					if word := w.want(w.send(args, ""), mcpcall.Repeat); word.RequestID != third.Handle.RequestID().String() {
						t.Error("not the latest")
					}
					w.wantRuns(3)
				})
			})
			t.Run("unknown", func(t *testing.T) {
				bothStores(t, "tools: [{name: pay, repeat: new}]", func(w *world) {
					w.answer = lost
					first := w.want(w.send(args, key("k1")), mcpcall.Uncertain)
					w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) { return done(n), nil }
					w.delivered(args, key("k2"))
					w.restart()
					if word := w.want(w.send(args, meta), mcpcall.Uncertain); word.RequestID != first.RequestID {
						t.Error("another receipt")
					}
					w.want(w.send(args, key("k3")), "") // a key is an intention of its own
					w.wantRuns(3)
				})
			})
			t.Run("running", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					started, release := make(chan bool), make(chan bool)
					w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
						started <- true
						<-release
						return done(n), nil
					}
					replies := make(chan mcpcall.Reply, 2)
					send := func(meta string) {
						replies <- w.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", args, meta)}, w.up)
					}
					go send(key("k1"))
					await(t, started)
					go send(meta)
					close(release)
					w.wantSame(await(t, replies), done(1))
					w.wantSame(await(t, replies), done(1))
					w.wantRuns(1)
				})
			})
			t.Run("other arguments", func(t *testing.T) {
				bothStores(t, "", func(w *world) {
					w.delivered(args, key("k1"))
					w.want(w.send(`{"a":2}`, meta), "")
					w.wantRuns(2)
				})
			})
		})
	}
	t.Run("money", func(t *testing.T) {
		bothStores(t, "tools: [{name: pay, repeat: money}]", func(w *world) {
			first := w.delivered(args, key("k1"))
			w.want(w.send(args, ""), mcpcall.Repeat)
			if err := mcpcall.Redeem(w.ctx, w.guard, first.Handle.RequestID(), "ann", "again"); err != nil {
				t.Fatal(err)
			}
			w.want(w.delivered(args, ""), "")
			w.want(w.send(args, ""), mcpcall.Repeat)
			w.wantRuns(2)
		})
	})
}

// noEvidence is a store that takes no evidence while it is broken.
type noEvidence struct {
	onceguard.Store
	broken bool
}

func (s *noEvidence) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	if s.broken {
		return &onceguard.StoreError{Op: "append evidence", Permanent: true, Err: errors.New("no")}
	}
	return s.Store.AppendEvidence(ctx, e)
}

// TestKeyedBeforeListed: a process that dies between the binding of a key and
// the listing of its receipt has run nothing, and the next one lists it.
func TestKeyedBeforeListed(t *testing.T) {
	store := &noEvidence{memstore.New(memstore.Options{}), true}
	w := newWorld(t, store, "")
	w.want(w.send(`{"a":1}`, `{"idempotencyKey":"k"}`), mcpcall.NotRun)
	w.wantRuns(0)
	store.broken = false
	w.restart()
	first := w.send(`{"a":1}`, `{"idempotencyKey":"k"}`)
	w.wantSame(w.send(`{"a":1}`, ""), first)
	w.wantRuns(1)
}
