package mcpcall_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/onceguard/onceguard/internal/mcpcall"
)

// TestSafeRetry: a lost call is sent again, under the same downstream key, also
// when it comes under a new id; a deliberate repeat has a key of its own.
func TestSafeRetry(t *testing.T) {
	const policy = "tools: [{name: pay, policy: safe-retry, horizon: 24h, remembers_refusals: true, inject: {argument: /key}}]"
	for name, second := range map[string]string{"the same id": claude("a"), "a new id": claude("b"), "no id": ""} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, policy, func(w *world) {
				w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) {
					return mcpcall.Reply{}, errors.New("lost")
				}
				word := w.want(w.send(`{"a":1}`, claude("a")), mcpcall.Uncertain)
				if word.NextStep != mcpcall.StepSameCall {
					t.Errorf("%+v", word)
				}
				w.restart()
				w.answer = func(_ context.Context, n int, _ json.RawMessage) (mcpcall.Reply, error) { return done(n), nil }
				w.want(w.delivered(`{"a":1}`, second), "")
				w.wantRuns(2)
				if string(w.calls[0]) == "" || !sameArguments(w.calls[0], w.calls[1]) {
					t.Errorf("two keys: %s and %s", w.calls[0], w.calls[1])
				}
				token := w.want(w.send(`{"a":1}`, ""), mcpcall.Repeat).RepeatToken
				w.want(w.send(redeem(withToken, token), ""), "")
				if sameArguments(w.calls[0], w.calls[2]) {
					t.Errorf("a repeat has the key of the first: %s", w.calls[2])
				}
			})
		})
	}
}

func sameArguments(a, b json.RawMessage) bool {
	var x, y struct{ Arguments struct{ Key string } }
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && x.Arguments.Key == y.Arguments.Key && x.Arguments.Key != ""
}
