package onceguard_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

func TestCacheIsBounded(t *testing.T) {
	const size = 4 << 20
	w := newWorld(t, func(o *onceguard.Options) { o.ReplayCache = size })
	defer w.close(w.guard)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	fill := w.guard.FillReplays
	before := heap()
	most := 0
	for i := range 40_000 {
		body := make([]byte, rng.IntN(1200))
		if i%500 == 0 {
			body = make([]byte, rng.IntN(300_000))
		}
		var id onceguard.RequestID
		for j := range id {
			id[j] = byte(rng.Uint32())
		}
		fill(onceguard.Record{
			ID: id, Fingerprint: onceguard.Fingerprint{Version: 1}, State: onceguard.Succeeded, Since: now, SettledBy: "owner",
			Reason: strings.Repeat("r", rng.IntN(40)), ResultRetention: time.Hour, IdentityRetention: time.Hour, Result: onceguard.NewResult("json refund", body),
		}, now)
		most = max(most, w.guard.KeptBytes())
	}
	if most > size || most < size/2 {
		t.Errorf("%d bytes were kept at most, the bound is %d", most, size)
	}
	// The count must be one of real memory: at most a tenth more may be used.
	if grown := heap() - before; grown > size+size/10 {
		t.Errorf("the heap grew by %d bytes with a bound of %d", grown, size)
	}
	runtime.KeepAlive(w)
}

// What is asked for again stays while many others, never asked for, pass.
func TestReplayedReceiptsOutliveTheOthers(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("hot"), w.ok())
		for i := range 2000 {
			w.mustDo(request(fmt.Sprint(i)), w.ok())
			if i%10 == 0 {
				w.wantAsked(0, func() { w.mustDo(request("hot"), w.never()) })
			}
		}
		if n := w.guard.KeptReplays(); n < 50 || n > 500 {
			t.Errorf("%d receipts are kept in 128 KiB", n)
		}
		w.wantAsked(1, func() { w.mustDo(request("0"), w.never()) })
	}, func(o *onceguard.Options) { o.ReplayCache = 128 << 10 })
}

func TestCacheUnderConcurrency(t *testing.T) {
	w := newWorld(t, func(o *onceguard.Options) { o.ReplayCache = 16 << 10 }) // room for a few of the keys
	defer w.close(w.guard)
	sweeper := w.guard.Sweeper(onceguard.SweeperOptions{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 500 {
				n := rng.IntN(64)
				r := request(fmt.Sprint(n))
				r.Sensitive = n%16 == 0
				switch want := (refund{fmt.Sprint(n), n}); rng.IntN(20) {
				case 0:
					if _, err := sweeper.Prune(w.ctx, false); err != nil {
						t.Error(err)
					}
				case 1:
					r.Input = "another"
					if _, err := w.do(r, w.act(want, nil)); err != nil && !errors.Is(err, onceguard.ErrMismatch) {
						t.Error(err)
					}
				default:
					rec, err := w.do(r, w.act(want, nil))
					if err != nil && !errors.Is(err, onceguard.ErrMismatch) || err == nil && rec.Value != want {
						t.Errorf("%+v, %v; want %+v", rec, err, want)
					}
				}
			}
		})
	}
	wg.Wait()
	w.wantRuns(64)
	if n := w.guard.KeptBytes(); n > 16<<10 {
		t.Errorf("%d bytes are kept", n)
	}
}
