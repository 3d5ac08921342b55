package mcppolicy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

const good = `version: 1
server: payments
defaults:
  wait: 5s
  identity: {ignore: [/note], meta: com.example/op}
tools:
  - name: get_balance
    repeat: new
  - name: get_*
    mode: pass
  - name: refund
    policy: safe-retry
    horizon: 24h
    remembers_refusals: true
    identity: {key: [/order/Id, /line], show_values: [/cents]}
    is_error: refused
    repeat: money
    inject: {argument: /key, length: 30}
    cancel_safe: true
    result: digest
    max_run: 1m
    lease: 20s
    result_retention: 7d
    identity_retention: forever
    pin: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
`

func TestPolicy(t *testing.T) {
	p, err := mcppolicy.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if p.Server != "payments" || !p.File {
		t.Errorf("%+v", p)
	}
	r := p.Tool("refund")
	if r.Policy != onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsRemembered) || !r.Guard || !r.Named || r.IsError != mcppolicy.IsErrorRefused ||
		r.Repeat != mcppolicy.RepeatMoney || !r.CancelSafe || r.Result != mcppolicy.ResultDigest || r.Inject.Length != 30 || r.Inject.Argument.String() != "/key" {
		t.Errorf("%+v", r)
	}
	want := onceguard.Limits{Wait: 5 * time.Second, MaxRun: time.Minute, Lease: 20 * time.Second, ResultRetention: 7 * 24 * time.Hour, IdentityRetention: onceguard.Forever}
	if d := cmp.Diff(want, r.Limits); d != "" {
		t.Error(d)
	}
	var names []string
	for _, k := range r.Identity.Key {
		names = append(names, k.Name+"="+k.Pointer.String())
	}
	if got := strings.Join(names, " "); got != "order.id=/order/Id line=/line" {
		t.Error(got)
	}
	if r.Identity.Meta != "com.example/op" || len(r.Identity.Ignore) != 1 || !cmp.Equal(r.Identity.CallIDs, mcppolicy.DefaultCallIDs) {
		t.Errorf("the defaults are not under the entry: %+v", r.Identity)
	}
	if x := p.Tool("get_balance"); !x.Guard || x.Repeat != mcppolicy.RepeatNew {
		t.Errorf("the first entry does not count: %+v", x)
	}
	if x := p.Tool("get_x"); x.Guard || !x.Named {
		t.Errorf("%+v", x)
	}
	if x := p.Tool("unheard"); !x.Guard || x.Named || x.Limits.Wait != 5*time.Second || x.Repeat != mcppolicy.RepeatAsk || x.IsError != mcppolicy.IsErrorUnknown {
		t.Errorf("%+v", x)
	}
}

func TestPatterns(t *testing.T) {
	for pattern, names := range map[string][2]string{
		"a":     {"a", " aa b A"},
		"*":     {"a ab", ""},
		"get_*": {"get_ get_x", " get xget_"},
		"*_get": {"_get x_get", " get _get_"},
		"a*b*c": {"abc axbxc abbc abcbc", " ab acb abcx"},
		"**":    {"x", ""},
	} {
		p, err := mcppolicy.Parse([]byte("version: 1\nserver: s\ntools: [{name: '" + pattern + "', mode: pass}]"))
		if err != nil {
			t.Fatal(err)
		}
		for i, list := range names {
			for _, name := range strings.Split(list, " ") {
				if got := !p.Tool(name).Guard; got != (i == 0) && (list != "" || name != "") {
					t.Errorf("%s matches %q: %v", pattern, name, got)
				}
			}
		}
	}
}

func TestDefault(t *testing.T) {
	p, err := mcppolicy.Default("srv", true)
	if err != nil || p.File || !p.Strict || !p.Tool("x").Guard {
		t.Errorf("%+v, %v", p, err)
	}
	for _, name := range []string{"", "Srv", "a/b", "-a", strings.Repeat("x", 41), "a b"} {
		if _, err := mcppolicy.Default(name, false); err == nil {
			t.Errorf("accepted the server name %q", name)
		}
	}
}

// TestMistakes changes one thing in a good file each, and wants an error that
// says what to write.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"version", "version: 1", "version: 2", "version: 1"},
		{"no version", "version: 1\n", "", "version is 0"},
		{"server", "server: payments", "server: Pay/ments", "server is"},
		{"unknown key", "wait: 5s", "wiat: 5s", "line 4: unknown key \"wiat\" in defaults; allowed there:"},
		{"unknown key of a tool", "cancel_safe: true", "cancelsafe: true", "line 19: unknown key \"cancelsafe\" in tools[2]"},
		{"unknown key of identity", "show_values: [/cents]", "show: [/cents]", "in tools[2].identity"},
		{"a key twice", "wait: 5s", "wait: 5s\n  wait: 6s", "already defined"},
		{"the type", "cancel_safe: true", "cancel_safe: maybe", "not a policy"},
		{"name in defaults", "wait: 5s", "name: x", "belong to one tool"},
		{"mode in defaults", "wait: 5s", "mode: pass", "belong to one tool"},
		{"no name", "name: refund", "answer_within: 9s", "name is missing"},
		{"a name twice", "name: get_balance", "name: refund", "a second entry"},
		{"mode", "mode: pass", "mode: open", "line 9: tools[1] \"get_*\": mode is \"open\"; write guard or pass"},
		{"pass with more", "mode: pass", "mode: pass\n    repeat: new", "nothing of the guard"},
		{"pass with identity", "mode: pass", "mode: pass\n    identity: {key: [/a]}", "nothing of the guard"},
		{"pin of a pattern", "mode: pass", "mode: pass\n    pin: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "a pattern"},
		{"pin", "sha256:0123456789abcdef0", "sha256:0123456789ABCDEF0", "64 hexadecimal digits"},
		{"policy", "policy: safe-retry", "policy: sometimes", "write at-most-once, safe-retry or rerun"},
		{"transactional", "policy: safe-retry", "policy: transactional", "write at-most-once, safe-retry or rerun"},
		{"no horizon", "    horizon: 24h\n", "", "needs horizon"},
		{"endless horizon", "horizon: 24h", "horizon: forever", "cannot be forever"},
		{"no refusals", "    remembers_refusals: true\n", "", "needs remembers_refusals"},
		{"no injection", "    inject: {argument: /key, length: 30}\n", "", "needs inject"},
		{"horizon of another policy", "policy: safe-retry", "policy: at-most-once", "belong to safe-retry"},
		{"is_error", "is_error: refused", "is_error: no", "write unknown, refused, not-executed or success"},
		{"repeat", "repeat: money", "repeat: twice", "write ask, new, replay or money"},
		{"result", "result: digest", "result: drop", "write keep, digest or sensitive"},
		{"two injections", "{argument: /key,", "{argument: /key, header: X,", "one of argument, header and meta"},
		{"length alone", "{argument: /key, length: 30}", "{length: 30}", "length needs"},
		{"short key", "length: 30", "length: 8", "at least 20"},
		{"bad header", "{argument: /key,", "{header: 'a b',", "not a header name"},
		{"bad pointer", "key: [/order/Id, /line]", "key: [order]", "does not begin with '/'"},
		{"bad escape", "key: [/order/Id, /line]", "key: ['/a~2']", "~0"},
		{"a name taken", "key: [/order/Id, /line]", "key: [/line, /Line]", "is taken"},
		{"our own name", "key: [/order/Id, /line]", "key: [/occurrence]", "is taken"},
		{"no name in it", "key: [/order/Id, /line]", "key: ['/9']", "makes no name"},
		{"key and template", "key: [/order/Id, /line]", "key: [/a], template: '{/b}'", "both set"},
		{"template without pointer", "key: [/order/Id, /line]", "template: 'x'", "every call would be the same"},
		{"template not closed", "key: [/order/Id, /line]", "template: '{/b'", "without a '}'"},
		{"template not opened", "key: [/order/Id, /line]", "template: 'b}'", "without a '{'"},
		{"duration", "max_run: 1m", "max_run: soon", "write 90s"},
		{"no duration", "max_run: 1m", "max_run: 0s", "write 90s"},
		{"two documents", "server: payments", "server: payments\n---\nx: 1", "2 YAML documents"},
		{"bad pointer of an id", "meta: com.example/op", "call_ids: ['/a~2']", "~0"},
		{"no YAML", "server: payments", "server: [", "not YAML"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatal("this row changes nothing")
			}
			_, err := mcppolicy.Parse([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %q", err, tt.want)
			}
		})
	}
	t.Run("empty", func(t *testing.T) {
		if _, err := mcppolicy.Parse(nil); err == nil {
			t.Error("accepted")
		}
	})
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.yaml")
	if _, err := mcppolicy.Load(path); err == nil {
		t.Error("a missing file was loaded")
	}
	if err := os.WriteFile(path, []byte(strings.Replace(good, "wait", "wiat", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mcppolicy.Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": line 4: ") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("#", 1<<20)+"\n"+good), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mcppolicy.Load(path); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("%v", err)
	}
}

const listed = `{"tools":[
 {"name":"read_file","description":"Reads.\nA lot: # of it\u001b[31m","annotations":{"readOnlyHint":true},"inputSchema":{}},
 {"name":"getBalance","inputSchema":{"properties":{"accountId":{"type":"string"}}}},
 {"name":"refund_order","inputSchema":{"properties":{"order_id":{"type":"string"},"note":{"type":"string"},"tags_id":{"type":"array"}}}},
 {"name":"send \"mail\" é 😀: {x}","annotations":{"readOnlyHint":"true"}},
 {"name":"od*d"}
]}`

// TestDraft holds the draft to a file, and loads it.
func TestDraft(t *testing.T) {
	text, err := mcppolicy.Draft("srv", mcppolicy.Answers{}, json.RawMessage(listed))
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/draft.yaml"
	if os.Getenv("UPDATE_DRAFT") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("-want +got; if it is meant, run with UPDATE_DRAFT=1:\n%s", d)
	}
	p, err := mcppolicy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for name, guard := range map[string]bool{"read_file": false, "getBalance": true, "refund_order": true, "send \"mail\" é 😀: {x}": true, "od*d": true} {
		if x := p.Tool(name); x.Guard != guard || x.Named == (name == "od*d") {
			t.Errorf("%s: %+v", name, x)
		}
	}
	if p.Tool("refund_order").Repeat != mcppolicy.RepeatMoney || p.Tool("getBalance").IsError != mcppolicy.IsErrorUnknown || !strings.HasPrefix(p.Tool("read_file").Pin, "sha256:") {
		t.Error("the careful defaults are not in it")
	}

	answers := mcppolicy.Answers{
		Pass:    map[string]bool{"read_file": false, "getBalance": true},
		IsError: map[string]mcppolicy.IsError{"refund_order": mcppolicy.IsErrorRefused},
		Repeat:  map[string]mcppolicy.Repeat{"refund_order": mcppolicy.RepeatAsk},
	}
	if text, err = mcppolicy.Draft("srv", answers, json.RawMessage(listed)); err != nil {
		t.Fatal(err)
	}
	if p, err = mcppolicy.Parse([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if r := p.Tool("refund_order"); !p.Tool("read_file").Guard || p.Tool("getBalance").Guard || r.IsError != mcppolicy.IsErrorRefused || r.Repeat != mcppolicy.RepeatAsk {
		t.Error("the answers do not count")
	}
	for _, list := range []string{`{"tools":[{"name":"a"},{"name":"a"}]}`, `{"tools":[{}]}`, `{"tools":[{"name":"a","name":"b"}]}`, `[`} {
		if _, err := mcppolicy.Draft("srv", mcppolicy.Answers{}, json.RawMessage(list)); err == nil {
			t.Errorf("drafted from %s", list)
		}
	}
	if text, err := mcppolicy.Draft("srv", mcppolicy.Answers{}, json.RawMessage(`{"tools":[]}`)); err != nil {
		t.Error(err)
	} else if _, err := mcppolicy.Parse([]byte(text)); err != nil {
		t.Error(err)
	}
}

// FuzzDraft: whatever a server says about itself, the draft loads, and nothing
// that the server did not say to be read-only passes.
func FuzzDraft(f *testing.F) {
	f.Add("read_file", "Reads.", true)
	f.Add("a: b\n- name: x\n  mode: pass", "x\n  mode: pass\n", false)
	f.Add("\u2028\u0085#", "\r\n", false)
	f.Fuzz(func(t *testing.T, name, about string, reads bool) {
		raw, err := json.Marshal(map[string]any{"tools": []any{map[string]any{
			"name": name, "description": about, "annotations": map[string]bool{"readOnlyHint": reads},
			"inputSchema": map[string]any{"properties": map[string]any{about + "_id": map[string]string{"type": "string"}}},
		}}})
		if err != nil {
			t.Skip()
		}
		text, err := mcppolicy.Draft("srv", mcppolicy.Answers{}, raw)
		if err != nil {
			if name == "" {
				return
			}
			t.Fatalf("%v", err)
		}
		p, err := mcppolicy.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Tools []struct{ Name string } }
		if err := json.Unmarshal(raw, &said); err != nil {
			t.Fatal(err)
		}
		if at := p.Tool(said.Tools[0].Name); !at.Guard != (reads && !strings.Contains(name, "*")) {
			t.Fatalf("guarded %v:\n%s", at.Guard, text)
		}
		if !p.Tool("another").Guard {
			t.Fatalf("another tool passes:\n%s", text)
		}
	})
}
