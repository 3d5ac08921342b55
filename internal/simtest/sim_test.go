package simtest

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/internal/bounds"
)

var (
	schedules = flag.Int("sim.schedules", 0, "how many schedules; 0: 3000, or 600 with -short")
	duration  = flag.Duration("sim.duration", 0, "go on with new seeds for so long")
	seed      = flag.Uint64("sim.seed", 0, "run this one schedule")
	from      = flag.Uint64("sim.from", 1, "the first seed")
	printing  = flag.Bool("sim.print", false, "print the history of -sim.seed even if it is right")
	everyBad  = flag.Bool("sim.all", false, "go on after a violation, to see which checks notice")
)

// bubble is the clock that judges leases: the bubble's own.
type bubble struct{}

func (bubble) Now() (time.Duration, error) { return time.Duration(time.Now().UnixNano()), nil }

func TestMain(m *testing.M) {
	bootclock.System = bootclock.Clock{Ticks: bubble{}}
	bounds.Jitter = jitter
	os.Exit(m.Run())
}

func asError(err error, e **onceguard.Error) bool { return errors.As(err, e) }

// needed is what a batch must have exercised to prove anything.
var needed = []string{
	"T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T9b", "T10", "T11", "T12", "T13", "T14",
	"crash", "late settle", "replay", "released by a lookup", "pruned", "clock set", "told uncertain",
	"unclear, applied", "unclear, not applied", "unclear, applied later", "applied late",
	"visible, not durable", "forgotten by a crash of the store", "effect delivered late",
	"histories checked by porcupine",
}

// vacuous says what a batch did not exercise: it is inconclusive then.
func vacuous(c counts) (missing []string) {
	for _, what := range needed {
		if c[what] == 0 {
			missing = append(missing, what)
		}
	}
	return missing
}

// TestSchedules runs a batch of seeds. A batch that exercised too little is
// inconclusive, which is a failure.
func TestSchedules(t *testing.T) {
	if *seed != 0 {
		w := simulate(t, *seed)
		if *printing || len(w.bad) > 0 {
			t.Log("\n" + w.history())
		}
		report(t, w)
		return
	}
	n := *schedules
	switch {
	case n > 0:
	case testing.Short():
		n = 600
	default:
		n = 3000
	}
	var next atomic.Uint64
	next.Store(*from - 1)
	total, ran, steps := counts{}, 0, 0
	var mu sync.Mutex
	begin := time.Now()
	more := func(i uint64) bool {
		if *duration > 0 {
			return time.Since(begin) < *duration
		}
		return i < *from+uint64(n)
	}
	t.Run("seeds", func(t *testing.T) {
		for range max(1, runtime.GOMAXPROCS(0)) {
			t.Run("worker", func(t *testing.T) {
				t.Parallel()
				for {
					i := next.Add(1)
					if !more(i) || t.Failed() && !*everyBad {
						return
					}
					w := simulate(t, i)
					report(t, w)
					mu.Lock()
					ran++
					steps += len(w.lines)
					for k, v := range w.counts {
						total[k] += v
					}
					mu.Unlock()
				}
			})
		}
	})
	took := time.Since(begin)
	var lines []string
	for _, k := range slices.Sorted(maps.Keys(total)) {
		lines = append(lines, fmt.Sprintf("%s %d", k, total[k]))
	}
	t.Logf("%d schedules from seed %d in %s (%.0f a second), %d events: %s",
		ran, *from, took.Round(time.Millisecond), float64(ran)/took.Seconds(), steps, strings.Join(lines, ", "))
	if missing := vacuous(total); len(missing) > 0 && !t.Failed() {
		t.Errorf("inconclusive: nothing here exercised %s", strings.Join(missing, ", "))
	}
}

// report fails the test for what a schedule violated, with the command that
// shows it again.
func report(t *testing.T, w *world) {
	t.Helper()
	for _, v := range w.bad {
		t.Errorf("VIOLATION %s: %s\n\tseed %d; again: go test ./internal/simtest -run TestSchedules -sim.seed=%d -sim.print -v", v.check, v.what, w.seed, w.seed)
	}
}

// TestSameSeedSameHistory: what a seed does must be seen again by it.
func TestSameSeedSameHistory(t *testing.T) {
	for s := uint64(1); s <= 40; s++ {
		first, second := simulate(t, s).history(), simulate(t, s).history()
		if first != second {
			t.Fatalf("seed %d gave two histories; they part at:\n%s", s, parting(first, second))
		}
	}
}

func parting(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return strings.Join(x[max(0, i-5):i], "\n") + "\nfirst:  " + x[i] + "\nsecond: " + y[i]
		}
	}
	return "the end of one"
}

// TestBatchThatExercisedTooLittleIsInconclusive: each thing that is needed is
// missed when it did not occur.
func TestBatchThatExercisedTooLittleIsInconclusive(t *testing.T) {
	full := counts{}
	for _, what := range needed {
		full[what] = 1
	}
	if missing := vacuous(full); len(missing) > 0 {
		t.Errorf("missing %v in a batch that has all", missing)
	}
	for _, what := range needed {
		full[what] = 0
		if missing := vacuous(full); len(missing) != 1 || missing[0] != what {
			t.Errorf("without %q: missing %v", what, missing)
		}
		full[what] = 1
	}
	if w := simulate(t, 1); len(vacuous(w.counts)) == 0 {
		t.Error("one schedule is said to exercise everything")
	}
}
