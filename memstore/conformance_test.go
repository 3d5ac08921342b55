package memstore_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness() })
}

// harness is a store on a clock of its own, which ticks a microsecond at every
// reading, so that no two times are equal unless they are one reading.
func harness() storetest.Harness {
	var clock atomic.Int64
	clock.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	s := memstore.New(memstore.Options{Now: func() time.Time { return time.Unix(0, clock.Add(int64(time.Microsecond))) }})
	epoch := 0
	return storetest.Harness{
		Store:        s,
		Second:       func(*testing.T) onceguard.Store { return s },
		AdvanceClock: func(d time.Duration) { clock.Add(int64(d)) },
		Failover: func(*testing.T) {
			epoch++
			s.SetEpoch(fmt.Sprint("after-failover-", epoch))
		},
		WriteRow: func(_ context.Context, tx any, name, value string) error {
			tx.(*memstore.Tx).Put(name, []byte(value))
			return nil
		},
		ReadRow: func(_ *testing.T, name string) (string, bool) {
			v, ok := s.Row(name)
			return string(v), ok
		},
	}
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(*testing.B) storetest.Harness {
		return storetest.Harness{Store: memstore.New(memstore.Options{})}
	})
}
