package bench

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"testing"
	"time"
)

// MostNoise is the share of the machine that others may use in a round.
const MostNoise = 0.15

// Bench is one run.
type Bench struct {
	Rounds  int           // of each scene
	Slice   time.Duration // of each side and round
	Repeats int           // rounds of a scene that may be repeated for noise
	Only    *regexp.Regexp
	Log     io.Writer

	Postgres string // version of the server
	Rows     []Row
	Notes    []string
	Goals    map[int]float64 // readings by number
	Schema   string          // tables of the schema scene
}

// Side is one of the things compared in a scene.
type Side struct {
	Name    string
	Callers int
	Op      func() error
}

// wants says whether a scene was asked for.
func (b *Bench) wants(scene string) bool { return b.Only == nil || b.Only.MatchString(scene) }

// callers are those of the counts whose scene was asked for.
func (b *Bench) callers(scene string, counts ...int) (wanted []int) {
	for _, n := range counts {
		if b.wants(fmt.Sprintf(scene, n)) {
			wanted = append(wanted, n)
		}
	}
	return wanted
}

func (b *Bench) logf(format string, args ...any) {
	fmt.Fprintf(b.Log, "%s "+format+"\n", append([]any{time.Now().Format("15:04:05")}, args...)...)
}

func (b *Bench) notef(format string, args ...any) {
	b.Notes = append(b.Notes, fmt.Sprintf(format, args...))
	b.logf(format, args...)
}

// reached records what a goal's number came to.
func (b *Bench) reached(goal int, value float64) {
	if b.Goals == nil {
		b.Goals = make(map[int]float64)
	}
	b.Goals[goal] = value
}

// scene lets the sides take turns and returns their rows in order. Who begins
// changes from round to round.
func (b *Bench) scene(t testing.TB, name string, m *meter, sides ...Side) []Row {
	t.Helper()
	ctx := context.Background()
	rows := make([]Row, len(sides))
	for i, s := range sides {
		rows[i] = Row{Scene: name, Side: s.Name, Callers: s.Callers}
		if _, err := drive(s.Callers, b.Slice/4, s.Op); err != nil { // warm-up
			t.Fatalf("%s, %s: %v", name, s.Name, err)
		}
	}
	repeats := b.Repeats
	for round := 0; round < b.Rounds; {
		samples := make([]Sample, len(sides))
		noisy := false
		for i := range sides {
			at := (i + round) % len(sides)
			s, err := m.measure(ctx, sides[at].Callers, b.Slice, sides[at].Op)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, sides[at].Name, err)
			}
			samples[at] = s
			noisy = noisy || s.Noise > MostNoise
		}
		if noisy && repeats > 0 {
			repeats--
			continue
		}
		for i, s := range samples {
			rows[i].Samples = append(rows[i].Samples, s)
		}
		round++
	}
	for _, r := range rows {
		b.logf("%-28s %-26s %5d callers %10.0f/s  p50 %8.0f us  %.2fx  noise %2.0f %%", name, r.Side, r.Callers, r.Median(rate), r.Median(p50), r.Ratio(rows[0], rate), 100*r.Median(noise))
	}
	b.Rows = append(b.Rows, rows...)
	return rows
}
