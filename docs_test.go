package onceguard_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite the generated parts of docs/")

const (
	tableBegin = "<!-- transitions: written by go test -run TestStatesDoc -update-docs -->"
	tableEnd   = "<!-- /transitions -->"
)

// TestStatesDoc holds docs/states.md to the one table in the code.
func TestStatesDoc(t *testing.T) {
	const path = "docs/states.md"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around the table", path)
	}
	want := before + tableBegin + "\n" + transitionTable() + tableEnd + after
	if *updateDocs {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(data) {
		t.Errorf("%s differs from Transitions(); run: go test -run TestStatesDoc -update-docs .", path)
	}
}

func transitionTable() string {
	var b strings.Builder
	b.WriteString("| # | from | to | who | rule |\n|---|---|---|---|---|\n")
	for _, r := range onceguard.Transitions() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.Transition, join(r.From), join(r.To), join(r.Who), r.Condition)
	}
	return b.String()
}

func join[T any](list []T) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ", ")
}
