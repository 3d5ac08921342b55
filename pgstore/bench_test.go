package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/storetest"
)

// BenchmarkStore runs beside the strongest version of what people write without
// a guard: prepared single statements on a pool of 64.
//
//	go test ./pgstore -run NONE -bench Store -count 10 | tee new.txt && benchstat new.txt
func BenchmarkStore(b *testing.B) {
	c := pgtest.Server(b)
	url := migrated(b, c)
	pgtest.Exec(b, url, `CREATE TABLE naive (id bytea PRIMARY KEY, state smallint NOT NULL, result bytea)`)
	storetest.Bench(b, func(b *testing.B) storetest.Harness {
		pgtest.Exec(b, url, "TRUNCATE onceguard_receipt, onceguard_evidence, naive")
		return storetest.Harness{
			Store: open(b, url, nil),
			Naive: func(b *testing.B) (claim, settle func(onceguard.RequestID) error) { return naive(b, url) },
		}
	})
}

// BenchmarkBesideNaive runs both sides in turns, so that what else the machine
// does meets both: new requests at 1 to 1,024 callers, and reads of final ones.
//
//	go test ./pgstore -run NONE -bench BesideNaive -benchtime 20000x
func BenchmarkBesideNaive(b *testing.B) {
	c := pgtest.Server(b)
	url := migrated(b, c)
	pgtest.Exec(b, url, `CREATE TABLE naive (id bytea PRIMARY KEY, state smallint NOT NULL, result bytea)`)
	s := open(b, url, nil)
	claim, settle := naive(b, url)
	body := []byte(strings.Repeat("x", 200))
	guarded := func() error {
		c := newClaim(b)
		a, err := claim1(s, c)
		if err == nil && a.Outcome == onceguard.Granted {
			said := success(c, a.Record.Attempt)
			said.Result = onceguard.NewResult("x", body)
			a, err = only(s.Settle(ctx, []onceguard.Settlement{said}))
		}
		if err == nil && a.Outcome != onceguard.Settled {
			err = fmt.Errorf("answered %s", a.Outcome)
		}
		return err
	}
	plain := func() error {
		c := newClaim(b)
		return errors.Join(claim(c.ID), settle(c.ID))
	}
	done := newClaim(b)
	mustClaim(b, s, done, onceguard.Granted, onceguard.T1)
	mustSettle(b, s, success(done, 1), onceguard.Settled, onceguard.T7)
	pool := naivePool(b, url)
	read := func() error {
		_, err := only(s.Get(ctx, []onceguard.RequestID{done.ID}))
		return err
	}
	selects := func() error {
		var state int16
		var body []byte
		return pool.QueryRow(ctx, "SELECT state, result FROM onceguard_receipt WHERE request_id = $1", done.ID[:]).Scan(&state, &body)
	}
	for _, x := range []struct {
		name           string
		guarded, naive func() error
	}{{"new", guarded, plain}, {"final", read, selects}} {
		for _, callers := range []int{1, 8, 64, 256, 1024} {
			b.Run(fmt.Sprintf("%s/callers=%d", x.name, callers), func(b *testing.B) {
				const turns = 5
				n := max(b.N/turns, callers)
				var took [2]time.Duration
				b.ReportAllocs()
				for range turns {
					took[0] += inTurn(b, callers, n, x.guarded)
					b.StopTimer()
					took[1] += inTurn(b, callers, n, x.naive)
					b.StartTimer()
				}
				rate := func(d time.Duration) float64 { return float64(n*turns) / d.Seconds() }
				b.ReportMetric(rate(took[0]), "guarded/s")
				b.ReportMetric(rate(took[1]), "naive/s")
				b.ReportMetric(rate(took[0])/rate(took[1]), "ratio")
			})
		}
	}
}

// inTurn runs n operations on a number of callers.
func inTurn(b *testing.B, callers, n int, op func() error) time.Duration {
	var left atomic.Int64
	left.Store(int64(n))
	begun := time.Now()
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := op(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return time.Since(begun)
}

func naive(b *testing.B, url string) (claim, settle func(onceguard.RequestID) error) {
	b.Helper()
	pool := naivePool(b, url)
	body := []byte(strings.Repeat("x", 200))
	return func(id onceguard.RequestID) error {
			_, err := pool.Exec(context.Background(), "INSERT INTO naive (id, state) VALUES ($1, 1)", id[:])
			return err
		}, func(id onceguard.RequestID) error {
			_, err := pool.Exec(context.Background(), "UPDATE naive SET state = 4, result = $2 WHERE id = $1 AND state = 1", id[:], body)
			return err
		}
}

func naivePool(b *testing.B, url string) *pgxpool.Pool {
	b.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 64
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}
