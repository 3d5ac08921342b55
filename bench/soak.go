package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// soak runs a mixed load with housekeeping for a while and watches what must
// not grow: new requests, repeats from memory and from the store, mismatches,
// refusals, releases.
func (b *Bench) soak(t *testing.T, span time.Duration) {
	if !b.wants("soak") || span <= 0 {
		return
	}
	c, _ := b.server(t, nil)
	url, store := database(t, c)
	g := newGuard(t, store, 1<<20) // small, so that it is full before the second quarter
	ctx, cancel := context.WithTimeout(context.Background(), span)
	defer cancel()
	var ops atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		err := g.Sweeper(onceguard.SweeperOptions{Every: time.Second, PruneEvery: 5 * time.Second}).Run(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	for caller := range 64 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(caller), 1))
			for n := 0; ctx.Err() == nil; n++ {
				if err := mixed(g, rng, caller, n); err != nil {
					t.Error(err)
					cancel()
				}
				ops.Add(1)
			}
		})
	}
	const points = 40
	heap, routines, conns := make([]float64, 0, points), make([]int, 0, points), make([]int64, 0, points)
	tick := time.NewTicker(max(span/(points+1), 50*time.Millisecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		var mem runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&mem)
		heap, routines = append(heap, float64(mem.HeapAlloc)), append(routines, runtime.NumGoroutine())
		conns = append(conns, pgtest.Value[int64](t, url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"))
	}
	all.Wait()
	if len(heap) < 8 {
		t.Fatalf("%d readings in %s are too few", len(heap), span)
	}
	q := len(heap) / 4
	early, late := median(heap[q:2*q]), median(heap[3*q:])
	b.reached(22, 100*(late/early-1))
	b.notef("Soak of %s: %s guarded calls by 64 callers; heap after collection %.1f MiB in the second quarter, %.1f MiB in the last; goroutines %d then %d; connections %d then %d.",
		span, number(float64(ops.Load())), early/(1<<20), late/(1<<20), routines[q], routines[len(routines)-1], conns[q], conns[len(conns)-1])
}

// mixed is one call of the soak.
func mixed(g *onceguard.Guard, rng *rand.Rand, caller, n int) error {
	order := fmt.Sprint(caller, "-", n)
	kind := rng.IntN(10)
	if kind >= 6 && n > 0 { // a repeat: mostly a recent one
		n -= 1 + min(n-1, int(rng.ExpFloat64()*200))
		order = fmt.Sprint(caller, "-", n)
	}
	r := keyed(order)
	r.Sensitive = kind == 5
	r.Limits.ResultRetention = 20 * time.Second
	if kind == 9 {
		r.Input = "another"
	}
	_, err := onceguard.Do(context.Background(), g, r, func(context.Context, *onceguard.Attempt) (charge, error) {
		switch kind {
		case 1:
			return charge{}, onceguard.Refused(errors.New("no funds"))
		case 2:
			return charge{}, onceguard.NotExecuted(errors.New("no route"))
		}
		return charge{order, note}, nil
	})
	for _, expected := range []error{onceguard.ErrMismatch, onceguard.ErrRefused, onceguard.ErrNotExecuted, onceguard.ErrNoResult} {
		if errors.Is(err, expected) {
			return nil
		}
	}
	return err
}
