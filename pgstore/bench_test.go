package pgstore_test

import (
	"context"
	"strings"
	"testing"

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

func naive(b *testing.B, url string) (claim, settle func(onceguard.RequestID) error) {
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
	body := []byte(strings.Repeat("x", 200))
	return func(id onceguard.RequestID) error {
			_, err := pool.Exec(context.Background(), "INSERT INTO naive (id, state) VALUES ($1, 1)", id[:])
			return err
		}, func(id onceguard.RequestID) error {
			_, err := pool.Exec(context.Background(), "UPDATE naive SET state = 4, result = $2 WHERE id = $1 AND state = 1", id[:], body)
			return err
		}
}
