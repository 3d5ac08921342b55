package sqlitestore_test

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/storetest"
)

// BenchmarkStore compares the store with the two statements that people write
// without a guard, on the same driver, durability and disk:
//
//	go test -run - -bench Store -count 10 ./sqlitestore | tee new.txt
//	benchstat -col /guarded new.txt
func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(b *testing.B) storetest.Harness {
		h := harness(b)
		h.Naive = naive
		return h
	})
}

// BenchmarkGrouped puts claim and settle of new requests, by ever more callers,
// beside the naive version with 64, in slices of one run, since only then the
// two meet the same machine. It reports operations per second and the median of
// the slices' ratios; -benchtime is not looked at:
//
//	go test -run - -bench Grouped -benchtime 1x ./sqlitestore
func BenchmarkGrouped(b *testing.B) {
	for _, callers := range []int{1, 8, 64, 256, 1024} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			h := harness(b)
			claim, settle := naive(b)
			beside := min(callers, 64)
			var guarded, plain, ratios []float64
			for range 5 {
				g := rate(b, callers, func() error { return pair(h.Store) })
				n := rate(b, beside, func() error {
					id := benchRequest().ID
					return errors.Join(claim(id), settle(id))
				})
				guarded, plain, ratios = append(guarded, g), append(plain, n), append(ratios, g/n)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(guarded), "guarded-ops/s")
			b.ReportMetric(median(plain), fmt.Sprint("naive", beside, "-ops/s"))
			b.ReportMetric(median(ratios), "ratio")
			if s, ok := h.Store.(*sqlitestore.Store); ok {
				st := s.Stats()
				b.ReportMetric(float64(st.Members)/float64(st.Batches), "members/batch")
			}
		})
	}
}

// rate counts what a number of callers do in a slice of time.
func rate(b *testing.B, callers int, op func() error) float64 {
	b.Helper()
	var done atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(start) < 400*time.Millisecond {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func benchRequest() (c onceguard.Claim) {
	_, _ = rand.Read(c.ID[:])
	_, _ = rand.Read(c.Owner[:])
	c.Scope, c.Action, c.Key, c.Process = "default", "refund.create", "order=1", "host/1"
	c.Fingerprints = []onceguard.Fingerprint{{Version: 1, KeyID: "k1", Sum: c.ID}}
	c.Lease, c.ResultRetention, c.IdentityRetention = time.Hour, time.Hour, time.Hour
	return c
}

// pair claims a new request and settles it.
func pair(s onceguard.Store) error {
	c := benchRequest()
	list, err := s.Claim(ctx, []onceguard.Claim{c})
	if err != nil || list[0].Outcome != onceguard.Granted {
		return fmt.Errorf("claim: %v, %w", list, err)
	}
	list, err = s.Settle(ctx, []onceguard.Settlement{success(c, []byte(`{"paid":true}`))})
	if err != nil || list[0].Outcome != onceguard.Settled {
		return fmt.Errorf("settle: %v, %w", list, err)
	}
	return nil
}

// naive inserts a key and later marks it done, one connection, prepared. One
// connection is the strongest choice: more of them queue by polling.
func naive(b *testing.B) (claim, settle func(onceguard.RequestID) error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "naive.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	must(b, err)
	b.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	_, err = db.Exec("CREATE TABLE done (id BLOB PRIMARY KEY, result BLOB) WITHOUT ROWID")
	must(b, err)
	insert, err := db.Prepare("INSERT INTO done (id) VALUES (?)")
	must(b, err)
	update, err := db.Prepare("UPDATE done SET result = ? WHERE id = ?")
	must(b, err)
	result := []byte(`{"paid":true}`)
	claim = func(id onceguard.RequestID) error { _, err := insert.Exec(id[:]); return err }
	settle = func(id onceguard.RequestID) error { _, err := update.Exec(result, id[:]); return err }
	return claim, settle
}
