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
	"github.com/onceguard/onceguard/memstore"
)

// TestOutcomes: what the upstream's answer means for the effect, for its caller
// and for the next one.
func TestOutcomes(t *testing.T) {
	isError := `{"isError":true,"content":[{"type":"text","text":"no funds"}]}`
	for name, tt := range map[string]struct {
		policy        string
		result, error string
		err           error
		first, again  mcpcall.Verdict
		same          bool // both get the upstream's bytes
		runs          int
	}{
		"isError":                {result: isError, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"isError, refused":       {policy: "is_error: refused", result: isError, again: mcpcall.Refused, same: true, runs: 1},
		"isError, not executed":  {policy: "is_error: not-executed", result: isError, same: true, runs: 2},
		"isError, success":       {policy: "is_error: success", result: isError, again: mcpcall.Replayed, same: true, runs: 1},
		"isError, rerun":         {policy: "policy: rerun", result: isError, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 2},
		"no such method":         {error: `{"code":-32601,"message":"x"}`, same: true, runs: 2},
		"invalid params":         {error: `{"code":-32602,"message":"x","data":{"a":1.0}}`, same: true, runs: 2},
		"internal error":         {error: `{"code":-32603,"message":"x"}`, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"some error":             {error: `{"code":-32001,"message":"x"}`, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"an error without code":  {error: `"x"`, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"the server died":        {err: errors.New("EOF"), first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"the server never began": {err: onceguard.NotExecuted(errors.New("spawn")), first: mcpcall.NotRun, again: mcpcall.NotRun, runs: 2},
		"no result":              {first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"a result that is none":  {result: `7`, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"a broken result":        {result: `{"content":`, first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"busy":                   {result: `{"resultType":"input_required","inputRequests":{}}`, same: true, runs: 2},
		"busy, with a state":     {result: `{"resultType":"input_required","inputRequests":{},"requestState":"s"}`, again: mcpcall.Awaiting, same: true, runs: 1},
		"a question of nothing":  {result: `{"resultType":"input_required"}`, again: mcpcall.Awaiting, same: true, runs: 1},
		// What the upstream itself says about its answer goes before the policy.
		"isError, said to be not executed": {policy: "is_error: refused", result: isError, err: onceguard.NotExecuted(errors.New("x")), same: true, runs: 2},
		"isError, said to be refused":      {policy: "is_error: not-executed", result: isError, err: onceguard.Refused(errors.New("x")), again: mcpcall.Refused, same: true, runs: 1},
		"isError, said to be unknown":      {policy: "is_error: not-executed", result: isError, err: errors.New("x"), first: mcpcall.Uncertain, again: mcpcall.Uncertain, runs: 1},
		"an error, said to be refused":     {error: `{"code":-32001,"message":"x"}`, err: onceguard.Refused(errors.New("x")), again: mcpcall.Refused, runs: 1},
		"a result, said to be none":        {result: `{"content":[]}`, err: onceguard.NotExecuted(errors.New("x")), again: mcpcall.Replayed, same: true, runs: 1},
		"isError is no boolean":            {result: `{"isError":"true","content":[]}`, again: mcpcall.Replayed, same: true, runs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			policy := ""
			if tt.policy != "" {
				policy = "tools: [{name: pay, " + tt.policy + "}]"
			}
			w := newWorld(t, memstore.New(memstore.Options{}), policy)
			answer := mcpcall.Reply{Result: json.RawMessage(tt.result), Error: json.RawMessage(tt.error)}
			if tt.result == "" {
				answer.Result = nil
			}
			if tt.error == "" {
				answer.Error = nil
			}
			w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) { return answer, tt.err }
			first := w.send(`{"a":1}`, claude("x"))
			w.want(first, tt.first)
			if tt.result == isError && !strings.Contains(string(first.Result), "no funds") {
				t.Errorf("the caller does not see what the tool said: %s", first.Result)
			}
			w.restart()
			again := w.send(`{"a":1}`, claude("x"))
			w.want(again, tt.again)
			if tt.same {
				w.wantSame(first, answer)
				w.wantSame(again, answer)
			} else if strings.Contains(string(again.Result), "no funds") && tt.runs == 1 {
				t.Errorf("what the tool said was kept in a reason: %s", again.Result)
			}
			w.wantRuns(tt.runs)
		})
	}
	t.Run("a panic of the transport", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		w.answer = func(context.Context, int, json.RawMessage) (mcpcall.Reply, error) { panic("oh") }
		w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
		w.want(w.send(`{"a":1}`, ""), mcpcall.Uncertain)
		w.wantRuns(1)
	})
}

// TestResultModes: what is kept of a result.
func TestResultModes(t *testing.T) {
	kek := []byte(strings.Repeat("k", 32))
	for name, tt := range map[string]struct {
		policy string
		kek    []byte
		again  mcpcall.Verdict
	}{
		"keep":                {"", nil, mcpcall.Replayed},
		"digest":              {"tools: [{name: pay, result: digest}]", nil, mcpcall.NoResult},
		"sensitive":           {"tools: [{name: pay, result: sensitive}]", nil, mcpcall.NoResult},
		"sensitive, encrypts": {"tools: [{name: pay, result: sensitive}]", kek, mcpcall.Replayed},
	} {
		t.Run(name, func(t *testing.T) {
			store := memstore.New(memstore.Options{})
			w := newWorld(t, store, tt.policy)
			if tt.kek != nil {
				store = memstore.New(memstore.Options{})
				g, err := onceguard.New(w.ctx, store, onceguard.Options{KeyEncryptionKey: tt.kek})
				if err != nil {
					t.Fatal(err)
				}
				if w.gate, err = mcpcall.New(w.ctx, g, w.pol, w.opts); err != nil {
					t.Fatal(err)
				}
			}
			first := w.send(`{"a":1}`, claude("x"))
			w.wantSame(first, done(1))
			again := w.send(`{"a":1}`, claude("x"))
			word := w.want(again, tt.again)
			if tt.again == mcpcall.NoResult && (word.State != "succeeded" || !word.MayRun) {
				t.Errorf("%+v", word)
			}
			w.wantRuns(1)
			page, err := store.List(w.ctx, onceguard.Filter{Results: true})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Records {
				if kept := strings.Contains(string(r.Result.Body), "done 1"); kept != (name == "keep") && strings.HasPrefix(r.Action, "mcp/") {
					t.Errorf("the body in the store: %q", r.Result.Body)
				}
			}
		})
	}
}

// TestForwarded: bytes go on as they came, but for the downstream key.
func TestForwarded(t *testing.T) {
	const raw = `{ "name":"pay" , "arguments":{"big":9007199254740993,"f":1.50,"s":"\u00e9\/"}, "_meta":{"traceparent":"00-1","progressToken":1.0}, "other":[ ] }`
	send := func(w *world, p string) string {
		w.want(w.do(mcpcall.Call{Params: json.RawMessage(p)}), "")
		return string(w.calls[len(w.calls)-1])
	}
	t.Run("untouched", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		if got := send(w, raw); got != raw {
			t.Errorf("%s", got)
		}
	})
	for name, tt := range map[string]struct{ inject, from, to string }{
		"argument over the model's": {"{argument: /key}", `{"name":"pay","arguments":{ "key" : "mine","a":1}}`, `{"name":"pay","arguments":{ "key" : "KEY","a":1}}`},
		"new argument":              {"{argument: /key}", `{"name":"pay","arguments":{"a":1 }}`, `{"name":"pay","arguments":{"a":1,"key":"KEY" }}`},
		"no arguments":              {"{argument: /key}", `{"name":"pay"}`, `{"name":"pay","arguments":{"key":"KEY"}}`},
		"null arguments":            {"{argument: /key}", `{"name":"pay","arguments":null}`, `{"name":"pay","arguments":{"key":"KEY"}}`},
		"deep argument":             {"{argument: /o/key}", `{"name":"pay","arguments":{"o":{},"a":1}}`, `{"name":"pay","arguments":{"o":{"key":"KEY"},"a":1}}`},
		"missing parent":            {"{argument: /o/key}", `{"name":"pay","arguments":{}}`, `{"name":"pay","arguments":{"o":{"key":"KEY"}}}`},
		"_meta":                     {"{meta: com.x/key}", `{"name":"pay","_meta":{"traceparent":"00"}}`, `{"name":"pay","_meta":{"traceparent":"00","com.x/key":"KEY"}}`},
		"no _meta":                  {"{meta: com.x/key}", `{"name":"pay"}`, `{"name":"pay","_meta":{"com.x/key":"KEY"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, memstore.New(memstore.Options{}), "tools: [{name: pay, inject: "+tt.inject+"}]")
			got := send(w, tt.from)
			at := strings.Index(tt.to, "KEY")
			if len(got) < at+52 {
				t.Fatal(got)
			}
			key := got[at : at+52]
			if strings.Replace(tt.to, "KEY", key, 1) != got || strings.Contains(key, `"`) {
				t.Errorf("%s", got)
			}
		})
	}
	t.Run("header", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "tools: [{name: pay, inject: {header: Idempotency-Key, length: 20}}]")
		h := http.Header{"Idempotency-Key": {"k"}, "X": {"y"}}
		w.do(mcpcall.Call{Params: params("pay", `{"a":1}`, ""), Header: h})
		got := w.header[0]
		if len(got.Get("Idempotency-Key")) != 20 || got.Get("X") != "y" || h.Get("Idempotency-Key") != "k" {
			t.Errorf("%v from %v", got, h)
		}
	})
	t.Run("no place for it", func(t *testing.T) {
		w := newWorld(t, memstore.New(memstore.Options{}), "tools: [{name: pay, inject: {argument: /o/key}}]")
		w.want(w.send(`{"o":7}`, ""), mcpcall.NotRun)
		w.wantRuns(0)
	})
}

// TestStoreTrouble: what cannot be remembered is not run.
func TestStoreTrouble(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		w := newWorld(t, store, "")
		store.Close()
		if word := w.want(w.send(`{"a":1}`, claude("x")), mcpcall.NotRun); word.NextStep != mcpcall.StepSameCall || word.MayRun {
			t.Errorf("%+v", word)
		}
		w.wantRuns(0)
	})
	t.Run("frozen", func(t *testing.T) {
		store := memstore.New(memstore.Options{})
		w := newWorld(t, store, "")
		first := w.send(`{"a":0}`, "")
		store.SetEpoch("another")
		w.want(w.send(`{"a":1}`, claude("x")), mcpcall.Frozen)
		w.wantSame(w.send(`{"a":0}`, ""), first)
		w.wantRuns(1)
	})
}

// TestAmbiguousParams: what two readers could read differently is not run.
func TestAmbiguousParams(t *testing.T) {
	w := newWorld(t, memstore.New(memstore.Options{}), "")
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for name, p := range map[string]string{
		"duplicate argument":   `{"name":"pay","arguments":{"a":1,"a":2}}`,
		"duplicate, escaped":   `{"name":"pay","arguments":{"a":1,"\u0061":2}}`,
		"duplicate name":       `{"name":"pay","name":"get"}`,
		"no name":              `{"arguments":{}}`,
		"name is a number":     `{"name":7}`,
		"arguments are a list": `{"name":"pay","arguments":[]}`,
		"_meta is a text":      `{"name":"pay","_meta":"x"}`,
		"too deep":             `{"name":"pay","arguments":{"a":` + deep + `}}`,
		"lone surrogate":       `{"name":"pay","arguments":{"a":"\ud800"}}`,
		"huge exponent":        `{"name":"pay","arguments":{"a":1e99999}}`,
		"no JSON":              `{"name":"pay"`,
		"nothing":              ``,
		"a list":               `[]`,
		"key is a number":      `{"name":"pay","_meta":{"idempotencyKey":7}}`,
		"key too long":         `{"name":"pay","_meta":{"idempotencyKey":"` + strings.Repeat("k", 600) + `"}}`,
		"state is a number":    `{"name":"pay","requestState":7}`,
		"token is an object":   `{"name":"pay","arguments":{"onceguard_repeat":{}}}`,
		"invalid UTF-8":        "{\"name\":\"pay\",\"arguments\":{\"a\":\"\xff\"}}",
		"trailing data":        `{"name":"pay"} {}`,
		"key with NUL":         `{"name":"pay","_meta":{"idempotencyKey":"a\u0000b"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := w.gate.Do(w.ctx, mcpcall.Call{Params: json.RawMessage(p)}, w.up)
			var e struct {
				Code    int
				Message string
			}
			if err := json.Unmarshal(r.Error, &e); err != nil || e.Code != -32602 || !strings.HasSuffix(e.Message, "Nothing was run.") || r.Verdict != mcpcall.Invalid {
				t.Errorf("%+v: %s%s", r.Verdict, r.Result, r.Error)
			}
		})
	}
	r := w.gate.Do(w.ctx, mcpcall.Call{Params: params("pay", "", ""), Header: http.Header{"Idempotency-Key": {"a", "b"}}}, w.up)
	w.want(r, mcpcall.Invalid)
	w.wantRuns(0)

	// Large integers are not folded into one.
	w.want(w.send(`{"a":9007199254740992}`, ""), "")
	w.want(w.send(`{"a":9007199254740993}`, ""), "")
	w.want(w.send(`{"a":0.1}`, ""), "")
	w.want(w.send(`{"a":1.0e-1}`, ""), mcpcall.Replayed)
	w.wantRuns(3)
}

// FuzzParams: no params make the gate panic, and what runs, runs with the bytes
// that came; the same call again never runs a second time.
func FuzzParams(f *testing.F) {
	for _, s := range []string{
		`{"name":"pay","arguments":{"a":9007199254740993,"b":[1.5,{"c":null}]},"_meta":{"claudecode/toolUseId":"x"}}`,
		`{"name":"pay","arguments":{"onceguard_repeat":"again-0-x"},"requestState":"s","inputResponses":{"q":1}}`,
		`{"name":"pay","_meta":{"io.github.onceguard/key":"k","io.github.onceguard/repeat":"again-1-y"}}`,
		`{"name":"\u00e9","arguments":null,"_meta":null}`,
		`{"name":"pay","arguments":{"a":1,"a":1}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w := newWorld(t, memstore.New(memstore.Options{}), "")
		c := mcpcall.Call{Params: json.RawMessage(s)}
		first := w.gate.Do(w.ctx, c, w.up)
		if (first.Result == nil) == (first.Error == nil) {
			t.Fatalf("%+v", first)
		}
		runs := w.runs()
		if first.Error != nil && runs > 0 {
			t.Fatal("ran, and answered with an error")
		}
		if runs == 1 && !strings.Contains(s, "onceguard") && string(w.calls[0]) != s {
			t.Fatalf("forwarded %s", w.calls[0])
		}
		if runs == 1 && !json.Valid(w.calls[0]) {
			t.Fatalf("forwarded %s", w.calls[0])
		}
		again := w.gate.Do(w.ctx, c, w.up)
		if w.runs() != runs || string(again.Result) != string(first.Result) {
			t.Fatalf("ran %d times; %s", w.runs(), again.Result)
		}
	})
}
