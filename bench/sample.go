package bench

import (
	"slices"
	"time"
)

// Sample is one slice of one side: a number of callers in a loop for a while.
type Sample struct {
	Ops      int64
	Elapsed  time.Duration
	P50, P99 time.Duration
	Client   time.Duration // CPU of this process
	Server   time.Duration // CPU of the PostgreSQL server, all its processes
	Xacts    int64         // transactions that wrote: transaction IDs taken
	WAL      int64         // bytes
	Mallocs  int64         // of this process
	Noise    float64       // share of the machine that others used
	Served   bool          // there was a server to read
}

// Rate is operations per second.
func (s Sample) Rate() float64 { return float64(s.Ops) / s.Elapsed.Seconds() }

func (s Sample) perOp(x float64) float64 {
	if s.Ops == 0 {
		return 0
	}
	return x / float64(s.Ops)
}

// The readings of a sample that rows show and goals are about.
func rate(s Sample) float64      { return s.Rate() }
func p50(s Sample) float64       { return float64(s.P50) / float64(time.Microsecond) }
func p99(s Sample) float64       { return float64(s.P99) / float64(time.Microsecond) }
func clientCPU(s Sample) float64 { return s.perOp(float64(s.Client) / float64(time.Microsecond)) }
func serverCPU(s Sample) float64 { return s.perOp(float64(s.Server) / float64(time.Microsecond)) }
func commits(s Sample) float64   { return s.perOp(1000 * float64(s.Xacts)) }
func wal(s Sample) float64       { return s.perOp(float64(s.WAL)) }
func mallocs(s Sample) float64   { return s.perOp(float64(s.Mallocs)) }
func noise(s Sample) float64     { return s.Noise }

// Row is one side of a scene with its samples, one a round.
type Row struct {
	Scene, Side string
	Callers     int
	Samples     []Sample
}

// Median is the median of a reading over the rounds.
func (r Row) Median(of func(Sample) float64) float64 {
	all := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		all[i] = of(s)
	}
	return median(all)
}

// Low is the lower quartile of a reading over the rounds: for CPU time of short
// slices, to which other programs only add.
func (r Row) Low(of func(Sample) float64) float64 {
	all := make([]float64, len(r.Samples))
	for i, s := range r.Samples {
		all[i] = of(s)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/4]
}

// Total is a reading of all rounds together, for counters: a median of rare
// events would hide them.
func (r Row) Total(of func(Sample) float64) float64 {
	var t Sample
	for _, s := range r.Samples {
		t.Ops += s.Ops
		t.Elapsed += s.Elapsed
		t.Client += s.Client
		t.Server += s.Server
		t.Xacts += s.Xacts
		t.WAL += s.WAL
		t.Mallocs += s.Mallocs
	}
	return of(t)
}

// served says whether the server's counters were read.
func (r Row) served() bool { return len(r.Samples) > 0 && r.Samples[0].Served }

// Noisy counts rounds with more noise than is good.
func (r Row) Noisy() (n int) {
	for _, s := range r.Samples {
		if s.Noise > MostNoise {
			n++
		}
	}
	return n
}

// Ratio is the median over the rounds of what this side reads to what the other
// reads in the same round.
func (r Row) Ratio(to Row, of func(Sample) float64) float64 {
	all := make([]float64, min(len(r.Samples), len(to.Samples)))
	for i := range all {
		if d := of(to.Samples[i]); d != 0 {
			all[i] = of(r.Samples[i]) / d
		}
	}
	return median(all)
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}
