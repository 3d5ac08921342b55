package bench

import (
	"errors"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestMedianAndRatio(t *testing.T) {
	second := func(ops ...int64) (r Row) {
		for _, n := range ops {
			r.Samples = append(r.Samples, Sample{Ops: n, Elapsed: time.Second})
		}
		return r
	}
	if got := second(5, 1, 3).Median(rate); got != 3 {
		t.Errorf("median of three is %v", got)
	}
	if got := second(4, 1, 3, 2).Median(rate); got != 2.5 {
		t.Errorf("median of four is %v", got)
	}
	// The machine was ten times slower in one round: the ratio is not.
	if got := second(300, 30, 330).Ratio(second(100, 10, 100), rate); got != 3 {
		t.Errorf("ratio is %v", got)
	}
	if got := second(40, 10, 30, 20).Low(rate); got != 20 {
		t.Errorf("lower quartile is %v", got)
	}
	counted := Row{Samples: []Sample{{Ops: 1000, Xacts: 0}, {Ops: 1000, Xacts: 4}}}
	if got := counted.Total(commits); got != 2 {
		t.Errorf("%v commits per 1,000", got)
	}
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		rule     string
		bound    float64
		value    float64
		measured bool
		want     string
	}{
		{">=", 3, 3, true, "met"},
		{">=", 3, 2.99, true, "**not met**"},
		{"<=", 25, 25, true, "met"},
		{"<=", 25, 25.1, true, "**not met**"},
		{"=", 2000, 2000.8, true, "met"},
		{"=", 2000, 2004, true, "**not met**"},
		{"=", 2000, 1990, true, "**not met**"},
		{"", 0, 7, true, "reported"},
		{">=", 3, 0, false, "not measured"},
	} {
		if got := (goal{rule: tc.rule, bound: tc.bound}).verdict(tc.value, tc.measured); got != tc.want {
			t.Errorf("%v: %s", tc, got)
		}
	}
	for i, g := range goals {
		if g.number != i+1 {
			t.Errorf("goal %d stands at place %d", g.number, i+1)
		}
	}
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.954: "0.95", 3: "3", 12.34: "12.3", 999.6: "1000", 1234567: "1,234,567", -1500: "-1,500"} {
		if got := number(x); got != want {
			t.Errorf("%v is %q, want %q", x, got, want)
		}
	}
}

func TestTapeKeepsTheSpread(t *testing.T) {
	x := tape{at: make([]time.Duration, 0, 256), stride: 1}
	for i := range 100_000 {
		x.add(time.Duration(i))
	}
	if n := len(x.at); n < 128 || n > 256 {
		t.Fatalf("%d are kept", n)
	}
	if mid := x.at[len(x.at)/2]; mid < 45_000 || mid > 55_000 {
		t.Errorf("the median became %d", mid)
	}
}

func TestDriveStopsOnAnError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := drive(4, time.Hour, func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestProcFiles(t *testing.T) {
	s, err := parseStat("42 (post) gres: x) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 1 0 100 1 1")
	if want := (stat{7, 2 * time.Second, 100 * time.Millisecond}); err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	if _, err := os.Stat("/proc/stat"); err != nil {
		t.Skip(err)
	}
	own, err := readStat(os.Getpid())
	if err != nil || own.parent != os.Getppid() {
		t.Errorf("%+v, %v", own, err)
	}
	family, err := familyCPU(os.Getpid())
	if err != nil || family < own.own {
		t.Errorf("%v is less than %v, %v", family, own.own, err)
	}
	if busy, err := machineBusy(); err != nil || busy <= 0 {
		t.Errorf("%v, %v", busy, err)
	}
}

// A round is repeated for noise only as often as is allowed.
func TestScenesEnd(t *testing.T) {
	b := &Bench{Rounds: 3, Slice: time.Millisecond, Repeats: 2, Log: io.Discard}
	rows := b.scene(t, "nothing", new(meter), Side{"a", 1, func() error { return nil }}, Side{"b", 2, func() error { return nil }})
	if len(rows) != 2 || len(rows[0].Samples) != 3 || len(rows[1].Samples) != 3 || len(b.Rows) != 2 {
		t.Errorf("%+v", rows)
	}
	b.Only = regexp.MustCompile("^sqlite")
	if b.wants("postgres 1") || !b.wants("sqlite 64") {
		t.Error("-only is not heeded")
	}
}

func TestReportNamesEveryGoal(t *testing.T) {
	b := &Bench{Rounds: 1, Slice: time.Second, Rows: []Row{{Scene: "s", Side: "a", Callers: 1, Samples: []Sample{{Ops: 10, Elapsed: time.Second, Noise: 0.2}}}}}
	b.reached(1, 3.5)
	text := b.Report(Machine{}, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), time.Minute)
	for _, want := range []string{"# Benchmark of 2026-01-02", "≥ 3x | 3.50x | met", "not measured", "| s | a | 1 | 10 |", "20 (1 of 1 over 15)"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if n := strings.Count(text, "not measured"); n != len(goals)-1 {
		t.Errorf("%d goals are not measured", n)
	}
}

func TestBetween(t *testing.T) {
	got, err := between("a\n"+beginMark+"\nold\n"+endMark+"\nz\n", beginMark, endMark, "new\n")
	if want := "a\n" + beginMark + "\n\nnew\n\n" + endMark + "\nz\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, bad := range []string{"", beginMark, endMark + beginMark} {
		if _, err := between(bad, beginMark, endMark, "x"); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
