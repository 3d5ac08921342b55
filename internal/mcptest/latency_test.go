//go:build linux

package mcptest_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	latencyPart  = "latency"
	latencyCalls = 300 // of each kind
)

// lane is one kind of call whose time is taken.
type lane struct {
	w     *world
	make  func(n int) call
	times []time.Duration
}

// writeLatency measures what the proxy adds to a call at the median. The kinds
// take turns in one run, so that whatever else the machine does meets them all.
func writeLatency(t testing.TB) {
	var body [][]string
	for _, transport := range transports {
		direct, guarded := newWorld(t, transport, false), newWorld(t, transport, true)
		guarded.shipped = true
		for _, w := range []*world{direct, guarded} {
			w.start()
			w.ask("tools/list", "{}") // the proxy learns which tools only read
		}
		read := func(n int) call { return call{tool: "read_balance", args: fmt.Sprintf(`{"account":"a%d"}`, n)} }
		act := func(n int) call { return pay(fmt.Sprintf("o%d", n), n, fmt.Sprintf("toolu_%d", n)) }
		lanes := []*lane{{w: direct, make: read}, {w: guarded, make: read}, {w: direct, make: act}, {w: guarded, make: act}}
		for n := range latencyCalls {
			for _, l := range lanes {
				c := l.make(n)
				began := time.Now()
				if r := l.w.call(c); r.outcome() != "result" {
					t.Fatalf("%s: %s", c.tool, r.raw)
				}
				l.times = append(l.times, time.Since(began))
			}
		}
		for i, what := range []string{"passed: read_balance", "guarded: pay, SQLite"} {
			without, with := median(lanes[2*i].times), median(lanes[2*i+1].times)
			body = append(body, []string{transport, what, millis(without), millis(with), millis(with - without)})
		}
	}
	head := []string{"over", "call", "without", "through the proxy", "added"}
	writePart(t, latencyPart, fmt.Sprintf("Measured on %s: %s, %d CPUs, %s. Medians of %d calls each, in milliseconds.\n\n",
		time.Now().UTC().Format("2006-01-02"), kernel(), runtime.NumCPU(), runtime.Version(), latencyCalls)+table(head, body))
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[len(sorted)/2]
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

func kernel() string {
	out, err := exec.Command("uname", "-sm").Output()
	if err != nil {
		return runtime.GOOS + " " + runtime.GOARCH
	}
	return strings.TrimSpace(string(out))
}
