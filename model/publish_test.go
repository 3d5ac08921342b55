package model

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var publish = flag.String("results", "", "write the results between the marks in this file")

const (
	resultsBegin = "<!-- results: written by the model's test -->\n"
	resultsEnd   = "<!-- /results -->"
)

func row(v variant, o outcome) string {
	found := "holds"
	switch {
	case v.kind == ends:
		found = "ends"
	case v.kind == wrong:
		found = "caught: " + strings.ReplaceAll(o.violated, "_", " ")
	}
	return fmt.Sprintf("| %s | `%s` | %s | %d | %.1f |\n", v.title, v.params, found, o.states, o.took.Seconds())
}

// publish replaces the table of results in a document.
func (r *results) publish(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), resultsBegin)
	_, after, ok2 := strings.Cut(rest, resultsEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around the results", path)
	}
	spin, err := exec.CommandContext(t.Context(), "spin", "-V").Output()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	set := "The bounded set (`go test ./model -results ../docs/model.md`)"
	if full() {
		set = "All of variants.txt (`make model-full`)"
	}
	fmt.Fprintf(&b, "%s, %s, %s. Two runs at a time on a shared machine: the seconds are for orientation.\n\n", set, time.Now().Format(time.DateOnly), strings.TrimSpace(string(spin)))
	b.WriteString("| variant | run | found | states | s |\n|---|---|---|---:|---:|\n")
	for _, i := range slices.Sorted(maps.Keys(r.lines)) {
		b.WriteString(r.lines[i])
	}
	if err := os.WriteFile(path, []byte(before+resultsBegin+b.String()+resultsEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
