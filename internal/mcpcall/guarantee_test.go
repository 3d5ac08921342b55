package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/memstore"
)

// TestTokenAndDrift: a token of a business key is no leave to change arguments.
func TestTokenAndDrift(t *testing.T) {
	bothStores(t, "tools: [{name: pay, identity: {key: [/order]}}]", func(w *world) {
		w.delivered(`{"order":"A","cents":1}`, "")
		token := w.want(w.send(`{"order":"A","cents":1}`, ""), mcpcall.Repeat).RepeatToken
		w.want(w.send(`{"order":"A","cents":2,"onceguard_repeat":`+quoted(token)+`}`, ""), mcpcall.Drift)
		w.wantRuns(1)
		w.want(w.send(`{"order":"A","cents":1,"onceguard_repeat":`+quoted(token)+`}`, ""), "")
		w.wantRuns(2)
	})
}

// TestConflictOverAQuestion: a call id with other arguments does not get the
// question of the first call.
func TestConflictOverAQuestion(t *testing.T) {
	bothStores(t, "", func(w *world) {
		w.answer = asks(1, "s")
		w.send(`{"a":1}`, claude("c"))
		w.want(w.send(`{"a":2}`, claude("c")), mcpcall.Conflict)
		w.do(answerTo("s", `{"q1":1}`))
		w.want(w.send(`{"a":2}`, claude("c")), mcpcall.Conflict)
		w.wantRuns(2)
	})
}

// overtaken is a store in which another process is faster: before the first
// binding is written, meanwhile runs.
type overtaken struct {
	onceguard.Store
	meanwhile func()
}

func (s *overtaken) Import(ctx context.Context, r []onceguard.Record) ([]onceguard.Answer, error) {
	if f := s.meanwhile; f != nil {
		s.meanwhile = nil
		f()
	}
	return s.Store.Import(ctx, r)
}

// TestBindingIsFirstComeFirstServed: two processes that judge one call id
// differently go by the binding that was written first.
func TestBindingIsFirstComeFirstServed(t *testing.T) {
	for name, says := range map[string]string{"the same call": `{"a":1}`, "another call": `{"a":2}`} {
		t.Run(name, func(t *testing.T) {
			store := &overtaken{Store: memstore.New(memstore.Options{})}
			const policy = "tools: [{name: pay, repeat: new}]"
			w, other := newWorld(t, store, policy), newWorld(t, store, policy)
			other.answer = func(ctx context.Context, _ int, p json.RawMessage) (mcpcall.Reply, error) { return w.up(ctx, p, nil) }
			var theirs mcpcall.Reply
			store.meanwhile = func() {
				other.delivered(says, "")
				theirs = other.send(says, claude("x")) // a repeat, so occurrence 1
			}
			mine := w.send(`{"a":1}`, claude("x")) // judged while there was nothing
			if says != `{"a":1}` {
				w.want(mine, mcpcall.Conflict)
				w.wantRuns(2)
				return
			}
			w.wantSame(mine, theirs)
			w.wantSame(w.send(`{"a":1}`, claude("x")), theirs)
			w.wantRuns(2)
		})
	}
}

// TestLeaveEnds: a person's leave to repeat is good for an hour.
func TestLeaveEnds(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	store := memstore.New(memstore.Options{Now: func() time.Time { return now }})
	w := newWorld(t, store, "tools: [{name: pay, repeat: money}]")
	first := w.delivered(`{"a":1}`, "")
	if err := mcpcall.Redeem(w.ctx, w.guard, first.Handle.RequestID(), "ann", "twice"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour + time.Second)
	w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat)
	w.wantRuns(1)
	if err := mcpcall.Redeem(w.ctx, w.guard, first.Handle.RequestID(), "ann", "twice"); err != nil {
		t.Fatal(err)
	}
	w.want(w.send(`{"a":1}`, ""), "")
	w.wantRuns(2)
}

// TestHandleOfAnEarlierAttempt: after a person ordered another run, the handle
// of the first run's task is no answer any more.
func TestHandleOfAnEarlierAttempt(t *testing.T) {
	bothStores(t, "", func(w *world) {
		w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
			if n == 2 {
				return mcpcall.Reply{}, errors.New("lost")
			}
			return mcpcall.Reply{Result: json.RawMessage(`{"resultType":"task","taskId":"t"}`)}, nil
		}
		first := w.send(`{"a":1}`, "")
		w.want(w.send(`{"a":1}`, ""), mcpcall.InProgress)
		_, err := w.store.Resolve(w.ctx, onceguard.Resolution{
			ID: first.Handle.RequestID(), Attempt: 1, Verdict: onceguard.ResolveRunAgain, Who: onceguard.ByOperator, By: "ann", Reason: "the server lost it",
		})
		if err != nil {
			t.Fatal(err)
		}
		w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
		w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
		w.wantRuns(2)
	})
}

// TestRefusalsOfACallID: a call id gets its own refusal again, and a new one a
// new try.
func TestRefusalsOfACallID(t *testing.T) {
	bothStores(t, "tools: [{name: pay, is_error: refused}]", func(w *world) {
		no := mcpcall.Reply{Result: json.RawMessage(`{"isError":true,"content":[]}`)}
		w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) {
			if n == 1 {
				return no, nil
			}
			return done(n), nil
		}
		w.send(`{"a":1}`, claude("x"))
		w.restart()
		r := w.send(`{"a":1}`, claude("x"))
		w.want(r, mcpcall.Refused)
		w.wantSame(r, no)
		w.want(w.send(`{"a":1}`, claude("y")), "")
		r = w.send(`{"a":1}`, claude("x"))
		w.want(r, mcpcall.Refused)
		w.wantRuns(2)
	})
}

// TestOtherTools: tools do not share receipts, whatever their names.
func TestOtherTools(t *testing.T) {
	w := newWorld(t, memstore.New(memstore.Options{}), "")
	for i, tool := range []string{"a", "A", "a/b", "ä", "a b", "ö", "long-" + longName, "long-" + longName + "x"} {
		r := w.do(mcpcall.Call{Params: params(tool, `{"a":1}`, claude("x"))})
		w.want(r, "")
		w.wantSame(r, done(i+1))
	}
}

const longName = "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij"
