package mcppolicy

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

const page = "../../docs/mcp-policy.md"

// TestExamples loads every policy of the page.
func TestExamples(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block := range strings.SplitSeq(string(text), "```yaml\n") {
		yaml, _, ok := strings.Cut(block, "```")
		if !ok || !strings.HasPrefix(yaml, "version:") {
			continue
		}
		n++
		if _, err := Parse([]byte(yaml)); err != nil {
			t.Errorf("%v\n%s", err, yaml)
		}
	}
	if n < 3 {
		t.Errorf("%d examples were found", n)
	}
}

// TestKeysDocumented: the page has a row for every key, and none else.
func TestKeysDocumented(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, tables, ok := strings.Cut(string(text), "\n## Keys")
	tables, _, ok2 := strings.Cut(tables, "\n## ")
	if !ok || !ok2 {
		t.Fatal("the page has lost its section Keys")
	}
	rows := map[string]int{}
	for line := range strings.SplitSeq(tables, "\n") {
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(cell, "`")
			rows[name]++
		}
	}
	keys := map[string]int{}
	for _, of := range []reflect.Type{reflect.TypeFor[file](), reflect.TypeFor[entry](), reflect.TypeFor[identity](), reflect.TypeFor[inject]()} {
		for f := range of.Fields() {
			keys[f.Tag.Get("yaml")]++
		}
	}
	for key, n := range keys {
		if rows[key] != n {
			t.Errorf("%d rows for %s, want %d", rows[key], key, n)
		}
	}
	for key := range rows {
		if keys[key] == 0 {
			t.Errorf("a row for %s, which is no key", key)
		}
	}
}
