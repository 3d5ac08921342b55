package onceguard_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
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

var (
	docBlock   = regexp.MustCompile("(?s)<!-- doc: ([a-z-]+) -->\n```go\n(.*?)```\n")
	codeRegion = regexp.MustCompile(`(?s)[ \t]*// doc: ([a-z-]+)\n(.*?)[ \t]*// end doc\n`)
)

// TestDocsCode holds the Go blocks of the documentation to code that the tests
// run: a block marked "doc: NAME" is the region of that name in a test file.
func TestDocsCode(t *testing.T) {
	regions := map[string]string{}
	for _, f := range testFiles(t) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range codeRegion.FindAllStringSubmatch(string(data), -1) {
			if _, twice := regions[m[1]]; twice {
				t.Errorf("%s: region %q stands in two places", f, m[1])
			}
			regions[m[1]] = dedent(m[2])
		}
	}
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, page := range append(pages, "README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if strings.Count(text, "```go\n") != strings.Count(text, "<!-- doc: ")+strings.Count(text, "<!-- not run: ") {
			t.Errorf("%s: a Go block has no mark above it: <!-- doc: NAME --> for a region of a test file, or <!-- not run: WHY --> where it needs what is not here", page)
		}
		want := docBlock.ReplaceAllStringFunc(text, func(block string) string {
			blocks++
			name := docBlock.FindStringSubmatch(block)[1]
			code, ok := regions[name]
			if !ok {
				t.Errorf("%s: no test file has the region %q", page, name)
				return block
			}
			return "<!-- doc: " + name + " -->\n```go\n" + code + "```\n"
		})
		if want == text {
			continue
		}
		if *updateDocs {
			if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		t.Errorf("%s shows code that differs from the tested one; run: go test -run TestDocsCode -update-docs .", page)
	}
	if blocks == 0 {
		t.Error("no block was compared")
	}
}

// testFiles lists the test files of all packages.
func testFiles(t *testing.T) (files []string) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// dedent removes the tabs that all lines begin with.
func dedent(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for {
		for _, l := range lines {
			if strings.TrimSpace(l) != "" && !strings.HasPrefix(l, "\t") {
				return strings.Join(lines, "")
			}
		}
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "\t")
		}
	}
}
