//go:build unix

package mcpproxy

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcppolicy"
	"github.com/onceguard/onceguard/memstore"
)

var update = flag.Bool("update", false, "rewrite the conversations in testdata")

// chance is what differs from run to run, and the word that stands for it.
var chance = []struct {
	form *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`req_[a-z2-7]{52}`), "$REQUEST"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "$TIME"},
	{regexp.MustCompile(`onceguard-[A-Z2-7]{26}`), "$ASK"},
	{regexp.MustCompile(`again-\d+-[a-z2-7]+`), "$TOKEN"},
}

// Whole conversations over a pipe, with the engine behind the proxy. In testdata
// a line that begins with > is the client's, and one with < is what it gets, in
// order. "delivered" and "acknowledged" wait for the evidence of one delivery; "leave" is the client's end and "come back" another client on the same
// store; a $WORD in the client's line is what it was told last.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 4 {
		t.Fatalf("conversations: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var policy, talk string
			for _, f := range a.Files {
				switch f.Name {
				case "tools.yaml":
					policy = string(f.Data)
				case "talk":
					talk = string(f.Data)
				}
			}
			got := converse(t, policy, talk)
			if *update {
				for i := range a.Files {
					if a.Files[i].Name == "talk" {
						a.Files[i].Data = []byte(got)
					}
				}
				if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(talk, got); diff != "" && !*update {
				t.Errorf("(-want +got), rewrite with -update if it is meant:\n%s", diff)
			}
		})
	}
}

func converse(t *testing.T, policy, talk string) string {
	t.Helper()
	p, err := mcppolicy.Default("shop", false)
	if policy != "" {
		p, err = mcppolicy.Parse([]byte(policy))
	}
	if err != nil {
		t.Fatal(err)
	}
	g, err := onceguard.New(t.Context(), memstore.New(memstore.Options{}), onceguard.Options{Observer: onceguard.SlogObserver(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	engine, err := mcpcall.New(t.Context(), g, p, mcpcall.Options{Elicit: Elicit, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	gate := &watchedGate{engine, make(chan struct{}, 100), make(chan struct{}, 100)}
	last := map[string]string{}
	var out bytes.Buffer
	w := newWireOn(t, gate)
	for line := range strings.Lines(talk) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "> "):
			sent := line[2:]
			for word, value := range last {
				sent = strings.ReplaceAll(sent, word, value)
			}
			w.send(sent + "\n")
		case strings.HasPrefix(line, "<"):
			line = w.read()
			for _, c := range chance {
				if found := c.form.FindString(line); found != "" {
					last[c.word] = found
				}
				line = c.form.ReplaceAllLiteralString(line, c.word)
			}
			line = "< " + line
		case line == "leave":
			_ = w.in.Close()
			w.end(-1)
		case line == "come back":
			w = newWireOn(t, gate)
		case line == "delivered", line == "acknowledged":
			told := gate.delivered
			if line == "acknowledged" {
				told = gate.acknowledged
			}
			select {
			case <-told:
			case <-time.After(patience):
				t.Fatalf("the evidence was not stored: %s", line)
			}
		case line == "nothing acknowledged":
			if n := len(gate.acknowledged); n > 0 {
				t.Errorf("%d answers were acknowledged", n)
			}
		default:
			t.Fatalf("a line of no kind: %q", line)
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}

// watchedGate says when the evidence of a delivery is stored.
type watchedGate struct {
	*mcpcall.Gate
	delivered, acknowledged chan struct{}
}

// Acknowledged implements Gate.
func (g *watchedGate) Acknowledged(ctx context.Context, h mcpcall.Handle) error {
	err := g.Gate.Acknowledged(ctx, h)
	g.acknowledged <- struct{}{}
	return err
}

// Delivered implements Gate.
func (g *watchedGate) Delivered(ctx context.Context, h mcpcall.Handle) error {
	err := g.Gate.Delivered(ctx, h)
	g.delivered <- struct{}{}
	return err
}
