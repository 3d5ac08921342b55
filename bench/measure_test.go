package bench

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

var (
	measure = flag.Bool("measure", false, "measure; without it only the arithmetic is tested")
	quick   = flag.Bool("quick", false, "short slices, few rounds: shows that all runs, not how fast; writes nothing but -out")
	only    = flag.String("only", "", "scenes whose name matches: postgres, schema, replay, memory, sqlite, dbos, rows, soak")
	rounds  = flag.Int("rounds", 0, "rounds of each scene; default 5, quick 1")
	slice   = flag.Duration("slice", 0, "length of a slice; default 1.5s, quick 150ms")
	rows    = flag.Int("rows", 0, "receipts of the large table; default 1,000,000, quick 30,000")
	soak    = flag.Duration("soak", 0, "length of the soak; default 3m, quick 5s; negative: none")
	out     = flag.String("out", "", "file for the table; default results/DATE.md, quick none")
)

// TestMeasure is a run; see the package documentation.
func TestMeasure(t *testing.T) {
	if !*measure {
		t.Skip("not asked to: make bench")
	}
	pick := func(given, full, short int) int {
		switch {
		case given != 0:
			return given
		case *quick:
			return short
		}
		return full
	}
	b := &Bench{
		Rounds: pick(*rounds, 5, 1), Slice: time.Duration(pick(int(*slice), int(1500*time.Millisecond), int(150*time.Millisecond))),
		Repeats: pick(0, 2, 0), Log: os.Stderr,
	}
	if *only != "" {
		var err error
		if b.Only, err = regexp.Compile(*only); err != nil {
			t.Fatal(err)
		}
	}
	full := !*quick && *rounds == 0 && *slice == 0
	whole := full && *only == "" // what is published
	// What a run writes into the page: of all, or of the schema scene alone.
	blocks := func(b *Bench, m Machine, at time.Time) [][3]string {
		var list [][3]string
		if whole {
			list = append(list, [3]string{beginMark, endMark, b.Summary(m, at)})
		}
		if whole || full && *only == "schema" {
			list = append(list, [3]string{beginSchemaMark, endSchemaMark, b.SchemaSummary(m, at)})
		}
		return list
	}
	const doc = "../docs/performance.md"
	publish := func(list [][3]string, write bool) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		page := string(text)
		for _, x := range list {
			if page, err = between(page, x[0], x[1], x[2]); err != nil {
				t.Fatalf("%s: %v", doc, err)
			}
		}
		if write && page != string(text) {
			if err := os.WriteFile(doc, []byte(page), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(blocks(b, Machine{}, time.Time{}), false) // better that marks are missed now than after the run
	began := time.Now()
	m := machine(t)
	t.Run("postgres", b.postgres)
	t.Run("slow disk", b.slowDisk)
	t.Run("schema", b.schema)
	t.Run("replays", b.replays)
	t.Run("memory", b.memory)
	t.Run("sqlite", b.sqlite)
	t.Run("peers", b.peers)
	t.Run("rows", func(t *testing.T) { b.largeTable(t, pick(*rows, 1_000_000, 30_000)) })
	t.Run("soak", func(t *testing.T) { b.soak(t, time.Duration(pick(int(*soak), int(3*time.Minute), int(5*time.Second)))) })
	report := b.Report(m, began, time.Since(began))
	if _, err := os.Stdout.WriteString("\n" + report); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		return // half a table is not published
	}
	file := *out
	if file == "" && whole {
		file = filepath.Join("results", began.Format(time.DateOnly)+".md")
	}
	if file != "" {
		if err := os.WriteFile(file, []byte(report), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if *out == "" {
		publish(blocks(b, m, began), true)
	}
}
