package bench

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tape records latencies. When it is full it keeps every second one from then
// on, so that a long slice costs no more memory than a short one.
type tape struct {
	at     []time.Duration
	stride int
	skip   int
}

func (t *tape) add(d time.Duration) {
	if t.skip > 0 {
		t.skip--
		return
	}
	if len(t.at) == cap(t.at) {
		half := t.at[:0]
		for i := 0; i < len(t.at); i += 2 {
			half = append(half, t.at[i])
		}
		t.at, t.stride = half, 2*t.stride
	}
	t.at = append(t.at, d)
	t.skip = t.stride - 1
}

// drive lets callers repeat op for a span. It ends when all have, so that what
// was started in the span counts with the time it took.
func drive(callers int, span time.Duration, op func() error) (Sample, error) {
	tapes := make([]tape, callers)
	for i := range tapes {
		tapes[i] = tape{at: make([]time.Duration, 0, max(256, 32768/callers)), stride: 1}
	}
	var (
		all   sync.WaitGroup
		stop  atomic.Bool
		total atomic.Int64
		mu    sync.Mutex
		errs  []error
	)
	began := time.Now()
	timer := time.AfterFunc(span, func() { stop.Store(true) })
	defer timer.Stop()
	for i := range callers {
		all.Go(func() {
			ops := int64(0)
			for at := time.Now(); !stop.Load(); {
				if err := op(); err != nil {
					stop.Store(true)
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					break
				}
				now := time.Now()
				tapes[i].add(now.Sub(at))
				at = now
				ops++
			}
			total.Add(ops)
		})
	}
	all.Wait()
	s := Sample{Ops: total.Load(), Elapsed: time.Since(began)}
	var merged []time.Duration
	for _, t := range tapes {
		merged = append(merged, t.at...)
	}
	slices.Sort(merged)
	if n := len(merged); n > 0 {
		s.P50, s.P99 = merged[n/2], merged[n*99/100]
	}
	if len(errs) > 3 {
		errs = errs[:3]
	}
	return s, errors.Join(errs...)
}
