package proxy_test

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/proxy"
)

// good is changed by the rows of TestConfigRefused.
const good = `scope: shop
upstreams:
  - name: stripe
    prefix: /stripe
    base_url: https://api.stripe.com
    unmatched_writes: refuse
    routes:
      - methods: [POST]
        path: /v1/refunds/{id}
        action: refund.create
        key: [{header: Idempotency-Key}]
        policy: safe-retry
        horizon: 24h
        remembers_refusals: true
        downstream_key_header: Idempotency-Key
        max_body: 64KiB
        result_retention: 30d
        identity_retention: forever
`

func TestConfigAccepted(t *testing.T) {
	c, err := proxy.Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(c.Summary(), "\n")
	for _, want := range []string{"stripe: /stripe/ -> https://api.stripe.com", "POST /v1/refunds/{id}: guarded as refund.create, safe-retry", "other writes: refused"} {
		if !strings.Contains(got, want) {
			t.Errorf("the summary leaves out %q:\n%s", want, got)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown key at the top", "scope: shop", "scop: shop", `line 1: unknown key "scop" at the top; allowed there: hosts, scope, scope_header`},
		{"unknown key of a route", "max_body", "max_bdoy", `line 16: unknown key "max_bdoy" in upstreams[0].routes[0]; allowed there: action,`},
		{"unknown key of a key part", "{header: Idempotency-Key}", "{haeder: x}", `unknown key "haeder" in upstreams[0].routes[0].key[0]; allowed there: form, header, json, name, path`},
		{"a key twice", "prefix: /stripe", "prefix: /stripe\n    prefix: /x", "already defined"},
		{"two documents", "scope: shop", "scope: shop\n---\nscope: x", "2 YAML documents"},
		{"not YAML", "scope: shop", "scope: [", "not YAML"},
		{"no upstreams", good, "scope: shop\n", "no upstreams"},
		{"empty", good, "", "it is empty"},
		{"a comment alone", good, "# nothing\n", "it is empty"},
		{"wrong type", "methods: [POST]", "methods: {a: b}", "not a configuration"},
		{"both scopes", "scope: shop", "scope: shop\nscope_header: X", "give one"},
		{"scope header, not declared", "scope: shop", "scope_header: X", "scope_header_is_authenticated: true"},
		{"declared, no header", "scope: shop", "scope_header_is_authenticated: true", "without scope_header"},
		{"no name", "name: stripe", "name: \"\"", "name is missing"},
		{"no place", "prefix: /stripe", "allow_private: false", "give prefix"},
		{"prefix with slash", "prefix: /stripe", "prefix: /stripe/", "without a slash at its end"},
		{"prefix upwards", "prefix: /stripe", "prefix: /a/..", "prefix"},
		{"host with port", "prefix: /stripe", "host: a:80", "without a port"},
		{"unmatched writes unsaid", "    unmatched_writes: refuse\n", "", "say what happens to writes that no route names"},
		{"upgrades", "unmatched_writes: refuse", "unmatched_writes: refuse\n    upgrades: maybe", "write refuse or pass"},
		{"callers", "unmatched_writes: refuse", "unmatched_writes: refuse\n    callers: all", "write by-credential"},
		{"base URL with password", "https://api.stripe.com", "https://u:secret-canary@api.stripe.com", "callers send their own credentials"},
		{"base URL broken", "https://api.stripe.com", "\"https://secret-canary:%\"", "not a URL"},
		{"base URL with query", "https://api.stripe.com", "https://api.stripe.com?x=1", "a query"},
		{"base URL of another scheme", "https://api.stripe.com", "ftp://api.stripe.com", "write https://HOST"},
		{"plain http", "https://api.stripe.com", "http://api.stripe.com", "plain http"},
		{"metadata service", "https://api.stripe.com", "http://169.254.169.254", "never forwarded to"},
		{"mapped metadata service", "https://api.stripe.com", "\"http://[::ffff:169.254.169.254]\"", "never forwarded to"},
		{"unspecified", "https://api.stripe.com", "http://0.0.0.0:80", "never forwarded to"},
		{"base URL upwards", "https://api.stripe.com", "https://api.stripe.com/a/../b", "base_url"},
		{"no methods", "        path: /v1/refunds/{id}", "", "path"},
		{"lower case method", "[POST]", "[post]", "methods are upper case"},
		{"CONNECT", "[POST]", "[CONNECT]", "never forwarded"},
		{"no path", "path: /v1/refunds/{id}", "path: v1", "does not begin with '/'"},
		{"rest in the middle", "/v1/refunds/{id}", "/v1/{rest...}/x", "{name...} at the end"},
		{"two variables alike", "/v1/refunds/{id}", "/v1/{id}/{id}", "two {id}"},
		{"wildcard", "/v1/refunds/{id}", "/v1/*", "{name} for one segment"},
		{"no action", "        action: refund.create\n", "", "action is missing"},
		{"pass with action", "action: refund.create", "action: refund.create\n        pass: true", "nothing of the guard can be"},
		{"no key", "        key: [{header: Idempotency-Key}]\n", "", "key is missing"},
		{"unnamed part", "[{header: Idempotency-Key}]", "[{json: /id}]", "name is missing"},
		{"two sources", "[{header: Idempotency-Key}]", "[{name: a, json: /id, header: X}]", "exactly one of"},
		{"two parts alike", "[{header: Idempotency-Key}]", "[{name: a, json: /id}, {name: a, json: /b}]", "a second part"},
		{"bad pointer", "[{header: Idempotency-Key}]", "[{name: a, json: id}]", "does not begin with '/'"},
		{"bad escape in a pointer", "[{header: Idempotency-Key}]", "[{name: a, json: /a~2}]", "~0"},
		{"no such variable", "[{header: Idempotency-Key}]", "[{name: a, path: nope}]", "has no {nope}"},
		{"policy", "policy: safe-retry", "policy: sometimes", "write at-most-once, safe-retry or rerun"},
		{"transactional", "policy: safe-retry", "policy: transactional", "write at-most-once, safe-retry or rerun"},
		{"no horizon", "        horizon: 24h\n", "", "needs horizon"},
		{"no refusal behaviour", "        remembers_refusals: true\n", "", "needs remembers_refusals"},
		{"no downstream key", "        downstream_key_header: Idempotency-Key\n", "", "needs downstream_key_header"},
		{"horizon of at-most-once", "policy: safe-retry", "policy: at-most-once", "belong to safe-retry"},
		{"endless horizon", "horizon: 24h", "horizon: forever", "cannot be forever"},
		{"hop-by-hop downstream key", "downstream_key_header: Idempotency-Key", "downstream_key_header: Connection", "does not travel"},
		{"no such preset", "downstream_key_header: Idempotency-Key", "preset: acme", "known are adyen,"},
		{"preset with a key in the body", "downstream_key_header: Idempotency-Key", "preset: square", "JSON field"},
		{"preset that needs a time", "downstream_key_header: Idempotency-Key", "preset: azure repeatable requests", "time of the first sending"},
		{"preset and header", "downstream_key_header: Idempotency-Key", "preset: stripe\n        downstream_key_header: X", "leave them out"},
		{"laxer horizon than the preset's", "horizon: 24h\n        remembers_refusals: true\n        downstream_key_header: Idempotency-Key", "horizon: 25h\n        preset: stripe", "honours a key for 24h0m0s"},
		{"laxer refusals than the preset's", "downstream_key_header: Idempotency-Key", "preset: stripe", "does not keep all of them"},
		{"refusals not documented", "remembers_refusals: true\n        downstream_key_header: Idempotency-Key", "preset: adyen", "needs remembers_refusals"},
		{"safe-retry without any key", "horizon: 24h\n        remembers_refusals: true\n        downstream_key_header: Idempotency-Key", "preset: twilio", "documents no idempotency key"},
		{"pass with preset", "action: refund.create\n        key: [{header: Idempotency-Key}]\n        policy: safe-retry\n        horizon: 24h\n        remembers_refusals: true\n        downstream_key_header: Idempotency-Key\n        max_body: 64KiB\n        result_retention: 30d\n        identity_retention: forever", "pass: true\n        preset: stripe", "nothing of the guard can be"},
		{"short downstream key", "max_body: 64KiB", "downstream_key_length: 8", "at least 20"},
		{"status", "max_body: 64KiB", "refused_on: [200]", "statuses from 400 to 599"},
		{"status twice", "max_body: 64KiB", "refused_on: [402]\n        not_executed_on: [402]", "is in not_executed_on already"},
		{"duration", "horizon: 24h", "horizon: soon", "write 90s"},
		{"no duration", "horizon: 24h", "horizon: 0s", "write 90s"},
		{"size", "max_body: 64KiB", "max_body: 1GiB", "is not a size"},
		{"large size", "max_body: 64KiB", "max_body: 65MiB", "is not a size"},
		{"same prefix", "upstreams:", "upstreams:\n  - {name: x, prefix: /stripe, base_url: \"https://x.test\", unmatched_writes: refuse}", "the same prefix"},
		{"same name", "upstreams:", "upstreams:\n  - {name: stripe, prefix: /x, base_url: \"https://x.test\", unmatched_writes: refuse}", "a second upstream has the name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(good, tt.old, tt.new, 1)
			if text == good {
				t.Fatal("this row changes nothing")
			}
			_, err := proxy.Parse([]byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v\nwant %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret-canary") {
				t.Errorf("the error repeats a secret: %v", err)
			}
		})
	}
}

// TestPresets: a preset says what its provider needs, and the page names all.
func TestPresets(t *testing.T) {
	page, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	usable := 0
	for _, p := range httpguard.Presets() {
		t.Run(p.Name, func(t *testing.T) {
			name := strings.ToLower(p.Name)
			c, err := proxy.Parse([]byte(strings.Replace(good, `policy: safe-retry
        horizon: 24h
        remembers_refusals: true
        downstream_key_header: Idempotency-Key`, "preset: "+name, 1)))
			if k := p.Key.Value; k.In != httpguard.Nowhere && (k.In != httpguard.InHeader || k.UUID || k.FirstSent != "") {
				if err == nil {
					t.Fatal("accepted, although the proxy cannot send its key")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			usable++
			if !strings.Contains(string(page), "`"+name+"`") {
				t.Errorf("docs/proxy.md does not name %s", name)
			}
			r := c.Upstreams[0].Routes[0]
			if r.DownstreamKeyHeader != p.Key.Value.Name || p.MaxKey.Known() && r.DownstreamKeyLength != p.MaxKey.Value || !slices.Equal(r.NotExecutedOn, p.BeforeWork.Value) {
				t.Errorf("the route has %q %d %v", r.DownstreamKeyHeader, r.DownstreamKeyLength, r.NotExecutedOn)
			}
		})
	}
	if usable == 0 {
		t.Error("no preset can be used")
	}
	retry := strings.Replace(good, `horizon: 24h
        remembers_refusals: true
        downstream_key_header: Idempotency-Key`, "preset: stripe", 1)
	c, err := proxy.Parse([]byte(retry))
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Upstreams[0].Routes[0]; r.RemembersRefusals == nil || *r.RemembersRefusals || time.Duration(r.Horizon) != httpguard.Stripe.Horizon.Value {
		t.Errorf("safe-retry with stripe has horizon %v, refusals %v", r.Horizon, r.RemembersRefusals)
	}
}

// TestConfigDocumented: docs/proxy.md has a row for every key, and none else.
func TestConfigDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, ok := strings.Cut(string(page), "## Configuration")
	tables, _, ok2 := strings.Cut(tables, "\n## ")
	if !ok || !ok2 {
		t.Fatal("docs/proxy.md has lost its section Configuration")
	}
	documented := map[string]bool{}
	for line := range strings.SplitSeq(tables, "\n") {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(cell, "`")
			documented[name] = true
		}
	}
	known := map[string]bool{}
	var walk func(t reflect.Type, place string)
	walk = func(t reflect.Type, place string) {
		for f := range t.Fields() {
			key := f.Tag.Get("yaml")
			if key == "" {
				continue
			}
			known[place+key] = true
			if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct {
				walk(f.Type.Elem(), strings.TrimSuffix(key, "s")+".")
			}
		}
	}
	walk(reflect.TypeFor[proxy.Config](), "")
	for key := range known {
		if !documented[key] {
			t.Errorf("docs/proxy.md has no row for %s", key)
		}
	}
	for key := range documented {
		if !known[key] {
			t.Errorf("docs/proxy.md has a row for %s, which is no key", key)
		}
	}
}

// TestDocumentedExample: the page shows the example that the tests run.
func TestDocumentedExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/proxy.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("../../examples/proxy/proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, upstreams, _ := strings.Cut(string(example), "upstreams:")
	if !strings.Contains(string(page), "```yaml\nupstreams:"+upstreams+"```\n") {
		t.Error("docs/proxy.md shows another configuration than examples/proxy/proxy.yaml")
	}
	_, pasted, _ := strings.Cut(string(page), "<<'YAML'\n")
	pasted, _, ok := strings.Cut(pasted, "YAML\n")
	if _, err := proxy.Parse([]byte(pasted)); err != nil || !ok {
		t.Errorf("the lines to paste in docs/proxy.md: %v\n%s", err, pasted)
	}
	for block := range strings.SplitSeq(string(page), "```yaml\n") {
		text, _, ok := strings.Cut(block, "```")
		if !ok || !strings.HasPrefix(text, "upstreams:") && !strings.HasPrefix(text, "scope") {
			continue
		}
		if _, err := proxy.Parse([]byte(text)); err != nil {
			t.Errorf("a configuration in docs/proxy.md: %v\n%s", err, text)
		}
	}
}
