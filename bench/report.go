package bench

import (
	"fmt"
	"strings"
	"time"
)

// Report is the dated table of a run.
func (b *Bench) Report(m Machine, at time.Time, took time.Duration) string {
	var w strings.Builder
	fmt.Fprintf(&w, "# Benchmark of %s\n\n", at.Format(time.DateOnly))
	fmt.Fprintf(&w, "%d cores (%s), %s, %s, a durable write of 8 KiB takes %d us; %s; PostgreSQL %s on the same machine; pgx %s, modernc SQLite %s, DBOS %s; commit %s. ",
		m.Cores, m.CPU, m.Kernel, m.Disk, m.Sync.Microseconds(), m.Go, b.Postgres,
		version("github.com/jackc/pgx/v5"), version("modernc.org/sqlite"), version("github.com/dbos-inc/dbos-transact-golang"), m.Commit)
	fmt.Fprintf(&w, "%d rounds of %s a side, in turns; the run took %s. Method and limits: [docs/performance.md](../../docs/performance.md).\n\n", b.Rounds, b.Slice, took.Round(time.Second))
	w.WriteString(b.goalTable())
	w.WriteString("\n")
	w.WriteString(b.rowTable())
	if b.Schema != "" {
		w.WriteString("\n## Schema\n\n" + b.Schema)
	}
	if len(b.Notes) > 0 {
		w.WriteString("\n")
		for _, n := range b.Notes {
			fmt.Fprintf(&w, "- %s\n", n)
		}
	}
	return w.String()
}

// Summary is what docs/performance.md shows of a run.
func (b *Bench) Summary(m Machine, at time.Time) string {
	return fmt.Sprintf("From the run of %s on %d cores, PostgreSQL %s on the same machine ([all numbers](../bench/results/%s.md)):\n\n%s",
		at.Format(time.DateOnly), m.Cores, b.Postgres, at.Format(time.DateOnly), b.goalTable())
}

func (b *Bench) goalTable() string {
	var w strings.Builder
	w.WriteString("| # | Goal | Wanted | Measured | |\n|---|---|---|---|---|\n")
	for _, g := range goals {
		value, ok := b.Goals[g.number]
		measured := "-"
		if ok {
			measured = number(value) + g.unit
		}
		fmt.Fprintf(&w, "| %d | %s | %s | %s | %s |\n", g.number, g.text, g.want(), measured, g.verdict(value, ok))
	}
	return w.String()
}

func (b *Bench) rowTable() string {
	var w strings.Builder
	w.WriteString("| Scene | Side | Callers | ops/s | to the first side | p50 us | p99 us | CPU us/op client + server | commits per 1,000 | WAL B/op | allocs/op | noise % |\n")
	w.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	var first Row
	for _, r := range b.Rows {
		if r.Scene != first.Scene {
			first = r
		}
		server, xacts, bytes := "-", "-", "-"
		if r.served() {
			server, xacts, bytes = number(r.Total(serverCPU)), number(r.Total(commits)), number(r.Total(wal))
		}
		noisy := ""
		if n := r.Noisy(); n > 0 {
			noisy = fmt.Sprintf(" (%d of %d over %.0f)", n, len(r.Samples), 100*MostNoise)
		}
		fmt.Fprintf(&w, "| %s | %s | %d | %s | %s | %s | %s | %s + %s | %s | %s | %s | %.0f%s |\n",
			r.Scene, r.Side, r.Callers, number(r.Median(rate)), number(r.Ratio(first, rate)), number(r.Median(p50)), number(r.Median(p99)),
			number(r.Median(clientCPU)), server, xacts, bytes, number(r.Median(mallocs)), 100*r.Median(noise), noisy)
	}
	return w.String()
}

// SchemaSummary is what docs/performance.md shows of the schema scene, which
// may be newer than the rest of the page.
func (b *Bench) SchemaSummary(m Machine, at time.Time) string {
	return fmt.Sprintf("From the run of %s on %d cores, PostgreSQL %s on the same machine. %s", at.Format(time.DateOnly), m.Cores, b.Postgres, b.Schema)
}

// Marks around what a run writes into docs/performance.md.
const (
	beginMark       = "<!-- bench: begin -->"
	endMark         = "<!-- bench: end -->"
	beginSchemaMark = "<!-- bench schema: begin -->"
	endSchemaMark   = "<!-- bench schema: end -->"
)

// between replaces what stands between two marks.
func between(doc, begin, end, block string) (string, error) {
	before, rest, ok := strings.Cut(doc, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("the marks %q and %q are not both there, in this order", begin, end)
	}
	return before + begin + "\n\n" + strings.TrimSpace(block) + "\n\n" + end + after, nil
}
