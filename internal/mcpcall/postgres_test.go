package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// TestPostgres takes the rows and the evidence of the gate's own to Postgres:
// its constraints are stricter than a map's.
func TestPostgres(t *testing.T) {
	url := pgtest.Server(t).Database(t)
	if err := pgstore.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	store, err := pgstore.Open(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	w := newWorld(t, store, "tools: [{name: pay, identity: {key: [/order]}}, {name: note}]")
	w.gate.Tools(w.ctx, listOf(payTool, readTool))
	first := w.delivered(`{"order":"A","cents":1}`, claude("c1"))
	w.restart()
	w.wantSame(w.send(`{"order":"A","cents":1}`, claude("c1")), first)
	token := w.want(w.send(`{"order":"A","cents":1}`, claude("c2")), mcpcall.Repeat).RepeatToken
	if word := w.want(w.send(`{"order":"A","cents":2}`, ""), mcpcall.Drift); len(word.ChangedFields) != 1 {
		t.Errorf("%+v", word)
	}
	w.want(w.send(`{"order":"A","cents":1,"onceguard_repeat":`+quoted(token)+`}`, claude("c3")), "")
	w.wantRuns(2)

	note := func(meta string) mcpcall.Reply {
		return w.do(mcpcall.Call{Params: params("note", `{"a":1}`, meta), Principal: "p"})
	}
	keyed := note(`{"idempotencyKey":"k"}`)
	w.wantSame(note(""), keyed)
	w.told(keyed)
	w.want(note(""), mcpcall.Repeat)
	w.wantRuns(3)

	w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
		return mcpcall.Reply{Result: json.RawMessage(`{"resultType":"task","taskId":"t"}`)}, nil
	}
	w.send(`{"order":"T"}`, "")
	w.want(w.send(`{"order":"T"}`, ""), mcpcall.InProgress)
	if err := w.gate.Task(w.ctx, "", "tasks/result", json.RawMessage(`{"taskId":"t"}`), json.RawMessage(`{"content":[]}`)); err != nil {
		t.Fatal(err)
	}
	w.want(w.send(`{"order":"T"}`, ""), mcpcall.Replayed)
	w.wantRuns(4)

	w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
		return mcpcall.Reply{}, errors.New("lost")
	}
	w.want(w.send(`{"order":"L"}`, claude("l")), mcpcall.Uncertain)
	w.restart()
	w.want(w.send(`{"order":"L"}`, claude("m")), mcpcall.Uncertain)
	w.wantRuns(5)
}
