package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// docs/cli.md and the manual page name every command, flag, exit status and
// variable that there is.
func TestDocsAreComplete(t *testing.T) {
	data, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	var errs bytes.Buffer
	parser, _, err := newParser(&app{stdout: &errs, stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	docs := commandDocs(parser.Model)
	page := strings.ReplaceAll(manual(docs, parser.Model.Help), `\-`, "-")
	for _, d := range docs[1:] {
		if len(d.sub) == 0 && !strings.Contains(text, "`"+d.path[len(d.path)-1]) && !strings.Contains(text, "## "+d.name()) {
			t.Errorf("docs/cli.md does not name %s", d.name())
		}
		if !strings.Contains(page, ".SS onceguard "+d.name()) {
			t.Errorf("the manual page does not name %s", d.name())
		}
		for _, f := range d.flags {
			if d.path[0] == "demo" || f.name == "help" || f.name == "verbose" {
				continue // documented with the demonstration, and by themselves
			}
			for _, name := range append([]string{f.name}, f.aliases...) {
				if !strings.Contains(text, "--"+name) {
					t.Errorf("docs/cli.md does not name --%s of %s", name, d.name())
				}
			}
		}
	}
	for _, e := range exitTable {
		if !strings.Contains(text, fmt.Sprintf("\n| %d |", e.status)) {
			t.Errorf("docs/cli.md does not list exit status %d", e.status)
		}
	}
	for _, e := range environmentTable {
		for name := range strings.SplitSeq(e.name, ", ") {
			if !strings.Contains(text, name) {
				t.Errorf("docs/cli.md does not name %s", name)
			}
		}
	}
}

// Every command has a help text with an example.
func TestEveryCommandHasAnExample(t *testing.T) {
	var errs bytes.Buffer
	parser, _, err := newParser(&app{stdout: &errs, stderr: &errs})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range commandDocs(parser.Model)[1:] {
		if len(d.sub) == 0 && (!strings.Contains(d.detail, "Example") || !strings.Contains(d.detail, "onceguard")) {
			t.Errorf("%s: no example in its help", d.name())
		}
	}
}
