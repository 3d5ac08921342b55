package bench

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"
)

var benchLine = regexp.MustCompile(`(?m)^BenchmarkReplayFromMemory/(\S+)\s+\d+\s+([0-9.]+) ns/op\s+(\d+) B/op\s+(\d+) allocs/op`)

// memory runs the root package's own benchmark of replays from memory on one
// core: two of its three levels cannot be reached from outside.
func (b *Bench) memory(t *testing.T) {
	if !b.wants("memory") {
		return
	}
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkReplayFromMemory$", "-cpu", "1",
		"-count", strconv.Itoa(b.Rounds), "-benchtime", (b.Slice / 4).String(), ".")
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	samples := map[string][]Sample{}
	for _, line := range benchLine.FindAllStringSubmatch(string(out), -1) {
		ns, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		allocs, err := strconv.ParseInt(line[4], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		const ops = 1_000_000
		took := time.Duration(ns * ops)
		samples[line[1]] = append(samples[line[1]], Sample{
			Ops: ops, Elapsed: took, Client: took, P50: time.Duration(ns), P99: time.Duration(ns), Mallocs: allocs * ops,
		})
	}
	for _, level := range [][2]string{{"look-up", "the cache alone"}, {"guard", "below the typed layer"}, {"whole", "a whole Do with JSON"}} {
		row := Row{Scene: "memory", Side: level[1], Callers: 1, Samples: samples[level[0]]}
		if len(row.Samples) == 0 {
			t.Fatalf("no line for %s in:\n%s", level[0], out)
		}
		b.Rows = append(b.Rows, row)
		b.logf("%-28s %-26s %s/s, %s allocations", "memory", row.Side, number(row.Median(rate)), number(row.Median(mallocs)))
		if level[0] == "guard" {
			b.reached(14, row.Median(rate))
			b.reached(15, row.Median(mallocs))
		}
	}
	b.notef("Replays from memory are means of go test -bench on one core; percentiles and noise are not measured there.")
}
