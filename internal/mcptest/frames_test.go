//go:build linux

package mcptest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/mcptest"
)

// oddFrames are what a decoder and an encoder on the way would change, and how
// many frames come back for each.
var oddFrames = []struct {
	frame   string
	answers int
}{
	{`{"jsonrpc":"2.0","id":9007199254740993,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{"x":1.50},"clientInfo":{"name":"odd","version":"1"}},"x-frame":[1.0,{"a":null}]}`, 1},
	{`{"jsonrpc":"2.0","method":"notifications/initialized","params":{"n":9007199254740993}}`, 0},
	{`{"id":1.5,"method":"ping","jsonrpc":"2.0"}`, 1},
	{`{"jsonrpc":"2.0","id":-1.50E+2,"method":"ping"}`, 1},
	{`{"jsonrpc":"2.0","id":123456789012345678901234567890,"method":"ping"}`, 1},
	{`{"jsonrpc":"2.0","id":"","method":"ping"}`, 1},
	{`{"jsonrpc":"2.0","id":"\u00e9\"\\ / \ud83d\ude00 \u2028","method":"ping"}`, 1},
	{`{ "jsonrpc" : "2.0" ,	"id" : 3 , "method" : "x/echo" , "params" : { "n" : 9007199254740993, "f":1.50, "twice":1, "twice":2, "<&>":"\u003c\/" } }`, 1},
	{`{"jsonrpc":"2.0","id":4,"method":"x/unknown","params":[1,2]}`, 1},
	{`{"jsonrpc":"2.0","method":"notifications/x-unknown"}`, 0},
	{`{"jsonrpc":"2.0","id":77,"result":{"nobody":"asked"}}`, 0},
	{`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"read_balance","arguments":{ "account" : "1.0" },"x":1.0},"x-frame":2.0}`, 1},
	{`{"jsonrpc":"2.0","id":9007199254740992,"method":"tools/call","params":{"arguments":{"account":"\u0041"},"name":"read_balance"}}`, 1},
	{`[{"jsonrpc":"2.0","id":21,"method":"ping"}, {"jsonrpc":"2.0","method":"notifications/x"},{"id":22.0,"jsonrpc":"2.0","method":"x/echo","params":{"b":1.0}}]`, 1},
	{`[{"jsonrpc":"2.0","id":23,"method":"tools/call","params":{"name":"read_balance","arguments":{"account":"b"}}}]`, 1},
	{`{"jsonrpc":"2.0","id":5,"method":"x/echo","params":{"large":"` + strings.Repeat("x", 1<<20) + `"}}`, 1},
}

// crooked are frames that are no messages, and lines that are none. They are
// sent over stdio: over HTTP every server refuses them in its own words.
var crooked = []struct {
	frame   string
	answers int
}{
	{`{"jsonrpc":"2.0","id":31,"method":"ping"}` + "\r", 1},
	{"", 0},
	{`{no JSON`, 1},
	{`{"jsonrpc":"2.0","id":32,"method":"ping"}   `, 1},
	{`{"jsonrpc":"2.0","id":null,"method":"ping"}`, 1},
}

// TestFrames: what is no guarded call goes through the proxy byte for byte, in
// both directions.
func TestFrames(t *testing.T) {
	processesAlone(t)
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			run := func(guarded bool) (sent, got []string) {
				w := newWorld(t, transport, guarded)
				w.config = byOrder // read_balance passes
				w.start()
				before := len(w.client.lines())
				seen := len(w.received())
				frames := oddFrames
				if transport == stdio {
					frames = append(frames, crooked...)
				}
				want := before
				for i, f := range frames {
					w.client.send(f.frame)
					want += f.answers
					w.client.until(fmt.Sprintf("answer %d to %.100s", want-before, f.frame), func() bool { return len(w.client.lines()) >= want })
					if f.answers == 0 && strings.TrimSpace(f.frame) != "" {
						w.waitTraced(mcptest.Received, seen+i+1) // the next must not overtake it
					}
				}
				for _, l := range w.client.lines()[before:] {
					got = append(got, string(l))
				}
				return w.received()[seen:], got
			}
			sent, got := run(false)
			sentThrough, gotThrough := run(true)
			if diff := cmp.Diff(sent, sentThrough); diff != "" {
				t.Errorf("what the server read (-without the proxy +through it)\n%.5000s", diff)
			}
			if diff := cmp.Diff(got, gotThrough); diff != "" {
				t.Errorf("what the client read (-without the proxy +through it)\n%.5000s", diff)
			}
		})
	}
}

// received gives the messages that the server read, byte for byte. The proxy may
// ask for tools/list by itself; it says so by its id.
func (w *world) received() []string {
	w.Helper()
	var raws []string
	for _, l := range w.lines() {
		if l.What == mcptest.Received {
			raws = append(raws, l.Raw)
		}
	}
	return raws
}

// TestGuardedFrames: a guarded call's id, its params on the way in and its result
// on the way out keep their bytes as well; and a replay has the bytes of the
// first answer.
func TestGuardedFrames(t *testing.T) {
	processesAlone(t)
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, transport, true)
			w.start()
			params := w.params(call{
				tool: "pay", host: "toolu_1", extra: `,"x-more":1.0`, meta: `,"n":9007199254740993`,
				args: `{ "order":"o" , "amount" : 100e-1,"currency":"\u0045UR" }`,
			})
			var results []string
			for _, id := range []string{"9007199254740993", "1.5", `"\u0061"`, "-1.50E+2", "0"} {
				w.client.send(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":` + params + `,"x-frame":1.0}`)
				results = append(results, w.answer(id).result)
			}
			for _, r := range results[1:] {
				if r != results[0] {
					t.Errorf("first answer\n%s\na replay\n%s", results[0], r)
				}
			}
			if !strings.Contains(results[0], `"structuredContent":{"effect":"eff_1","big":9007199254740993,"rate":1.50}`) {
				t.Errorf("the result was written anew: %s", results[0])
			}
			var sent string
			for _, raw := range w.received() {
				if strings.Contains(raw, "tools/call") {
					sent += raw
				}
			}
			var f struct{ Params json.RawMessage }
			if err := json.Unmarshal([]byte(strings.TrimSpace(sent)), &f); err != nil || string(f.Params) != params {
				t.Errorf("the server read %s, want once the params %s (%v)", sent, params, err)
			}
			w.effects("pay o", 1)

			// A batch with a guarded call is refused whole, and says so to each.
			w.client.send(`[{"jsonrpc":"2.0","id":31,"method":"tools/call","params":` + strings.ReplaceAll(params, `"o"`, `"in a batch"`) + `}, {"jsonrpc":"2.0","id":32,"method":"ping"}]`)
			w.client.until("an answer to the batch", func() bool {
				last := string(w.client.lines()[len(w.client.lines())-1])
				return strings.Contains(last, `"id":31,"error"`) && strings.Contains(last, `"id":32,"error"`)
			})
			w.effects("pay in a batch", 0)
		})
	}
}
