package mcpcall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/memstore"
)

// TestPrunedChains: what is pruned never hides a later occurrence.
func TestPrunedChains(t *testing.T) {
	for _, n := range []int{1, 2, 3, 63, 64, 65, 66, 127, 128, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			store := memstore.New(memstore.Options{Now: func() time.Time { return now }})
			w := newWorld(t, store, "tools: [{name: pay, repeat: new, result_retention: 1d, identity_retention: 2d}]")
			for range n {
				w.delivered(`{"a":1}`, "")
			}
			w.wantRuns(n)
			// The last one is lost and never settled by anybody.
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
				return mcpcall.Reply{}, context.DeadlineExceeded
			}
			lost := w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
			now = now.Add(100 * 24 * time.Hour)
			for {
				done, err := store.Prune(w.ctx, onceguard.PruneRequest{Limit: 1000})
				if err != nil {
					t.Fatal(err)
				}
				if done.Done {
					break
				}
			}
			w.restart()
			if word := w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain); word.RequestID != lost.RequestID {
				t.Errorf("found %s, want %s", word.RequestID, lost.RequestID)
			}
			w.wantRuns(n + 1)
			page, err := store.List(w.ctx, onceguard.Filter{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			if most := 64 + n/64 + 1; len(page.Records) > most {
				t.Errorf("%d rows are left, want at most %d", len(page.Records), most)
			}
		})
	}
}

// TestForgotten: a call that was never repeated is forgotten whole.
func TestForgotten(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := memstore.New(memstore.Options{Now: func() time.Time { return now }})
	w := newWorld(t, store, "")
	w.delivered(`{"a":1}`, claude("x"))
	now = now.Add(401 * 24 * time.Hour)
	if _, err := store.Prune(w.ctx, onceguard.PruneRequest{Limit: 1000}); err != nil {
		t.Fatal(err)
	}
	page, err := store.List(w.ctx, onceguard.Filter{})
	if err != nil || len(page.Records) != 0 {
		t.Errorf("%d rows are left, %v", len(page.Records), err)
	}
}

// slowEvidence is a store whose evidence takes until release.
type slowEvidence struct {
	onceguard.Store
	begun, release chan bool
}

func (s slowEvidence) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	s.begun <- true
	<-s.release
	return s.Store.AppendEvidence(ctx, e)
}

// TestFastClient: a client that repeats before the evidence of delivery is
// durable is taken for one that has the answer.
func TestFastClient(t *testing.T) {
	slow := slowEvidence{memstore.New(memstore.Options{}), make(chan bool), make(chan bool)}
	w := newWorld(t, slow, "")
	first := w.send(`{"a":1}`, "")
	ended := make(chan error, 1)
	go func() { ended <- w.gate.Delivered(w.ctx, first.Handle) }()
	await(t, slow.begun)
	w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
	close(slow.release)
	if err := await(t, ended); err != nil {
		t.Fatal(err)
	}
	w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
	w.wantRuns(1)
}

// TestNotKept: who was told that a call happened can repeat it on purpose.
func TestNotKept(t *testing.T) {
	bothStores(t, "tools: [{name: pay, result: digest}]", func(w *world) {
		w.send(`{"a":1}`, "")
		r := w.send(`{"a":1}`, "")
		w.want(r, mcpcall.NoResult)
		w.told(r)
		token := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat).RepeatToken
		w.want(w.send(redeem(withToken, token), ""), "")
		w.wantRuns(2)
	})
	t.Run("a question", func(t *testing.T) {
		bothStores(t, "tools: [{name: pay, result: digest}]", func(w *world) {
			w.answer = asks(1, "s")
			w.send(`{"a":1}`, "")
			w.want(w.send(`{"a":1}`, ""), mcpcall.Awaiting)
			w.wantSame(w.do(answerTo("s", `{"q1":1}`)), done(2))
			w.wantRuns(2)
		})
	})
}
