//go:build linux

package mcptest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

// evidencePath is the page that the tests read, and that make mcp-evidence
// writes.
const evidencePath = root + "/docs/mcp-evidence.md"

var writing = flag.Bool("mcp.evidence", false, "measure, and write docs/mcp-evidence.md instead of comparing with it")

// part is a part of the page between two marks.
func part(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(evidencePath)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), beginMark(name))
	body, _, ended := strings.Cut(rest, endMark)
	if !found || !ended {
		t.Fatalf("%s has no part %q", evidencePath, name)
	}
	return body
}

// writePart replaces a part of the page.
func writePart(t testing.TB, name, body string) {
	t.Helper()
	old := part(t, name)
	text, err := os.ReadFile(evidencePath)
	if err != nil {
		t.Fatal(err)
	}
	now := strings.Replace(string(text), beginMark(name)+old, beginMark(name)+"\n"+body, 1)
	if err := os.WriteFile(evidencePath, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}

const endMark = "<!-- end -->"

func beginMark(name string) string { return "<!-- evidence: " + name + " -->" }

// rows reads a part's table, without its head.
func rows(t testing.TB, name string) [][]string {
	t.Helper()
	var list [][]string
	for line := range strings.Lines(part(t, name)) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|-") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.TrimSpace(cell))
		}
		list = append(list, cells)
	}
	if len(list) > 0 {
		list = list[1:]
	}
	return list
}

// table writes a table.
func table(head []string, body [][]string) string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", len(head)))
	for _, cells := range body {
		line(cells)
	}
	return b.String()
}

const killsPart = "kills"

// readKills reads what the page says of each kill.
func readKills(t testing.TB) map[killCell]string {
	t.Helper()
	cells := map[killCell]string{}
	for _, row := range rows(t, killsPart) {
		if len(row) != 2+len(kills) {
			t.Fatalf("%s: %q has %d columns, want %d", evidencePath, row[0], len(row), 2+len(kills))
		}
		for i, how := range kills {
			cells[killCell{row[0], row[1], how.victim, how.guarded}] = row[2+i]
		}
	}
	return cells
}

// writeKills runs every kill and writes the table.
func writeKills(t testing.TB) {
	var body [][]string
	for _, transport := range transports {
		for _, m := range moments {
			row := []string{transport, m.name}
			for _, how := range kills {
				if !how.guarded && !without(m.fault) {
					row = append(row, "–")
					continue
				}
				cell := killCell{transport, m.name, how.victim, how.guarded}
				k := killAt(t, cell, m.fault)
				for tries := 0; cell.guarded && k.soon() && tries < 5; tries++ {
					k = killAt(t, cell, m.fault)
				}
				row = append(row, k.String())
			}
			body = append(body, row)
		}
	}
	writePart(t, killsPart, table(append([]string{"transport", "the call is"}, killHeads()...), body))
}

func killHeads() []string {
	var heads []string
	for _, how := range kills {
		head := how.victim + " killed"
		if !how.guarded {
			head = "unguarded, " + head
		}
		heads = append(heads, head)
	}
	return heads
}
