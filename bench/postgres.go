package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// quiet drops what stores and peers log.
var quiet = slog.New(slog.DiscardHandler)

// settings keep checkpoints out of the short slices: the first write to a page
// after one is far larger, for both sides, and by chance.
var settings = map[string]string{
	"max_wal_size": "8GB", "checkpoint_timeout": "30min", "shared_buffers": "512MB", "max_connections": "300",
}

// server is a private PostgreSQL server with its meter.
func (b *Bench) server(t testing.TB, env []string) (*pgtest.Cluster, *meter) {
	t.Helper()
	c := pgtest.Start(t, pgtest.Options{Settings: settings, Env: env})
	return c, b.meter(t, c)
}

// meter reads a server's counters until the test ends.
func (b *Bench) meter(t testing.TB, c *pgtest.Cluster) *meter {
	t.Helper()
	m, err := newMeter(t.Context(), c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	b.Postgres, _, _ = strings.Cut(pgtest.Value[string](t, c.URL("postgres"), "SHOW server_version"), " ")
	return m
}

// database is a fresh one with the store's tables and the naive one.
func database(t testing.TB, c *pgtest.Cluster) (url string, store *pgstore.Store) {
	t.Helper()
	url = c.Database(t)
	pgtest.Exec(t, url, naiveTable)
	store, err := pgstore.Open(t.Context(), url, &pgstore.Options{AutoMigrate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return url, store
}

func newGuard(t testing.TB, s onceguard.Store, cache int) *onceguard.Guard {
	t.Helper()
	g, err := onceguard.New(t.Context(), s, onceguard.Options{ReplayCache: cache, Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return g
}

// postgres measures claim and settle, and whole guarded calls, beside naive.
func (b *Bench) postgres(t *testing.T) {
	counts := b.callers("postgres %d", 1, 8, 64, 256, 1024)
	if len(counts) == 0 {
		return
	}
	c, m := b.server(t, nil)
	for _, n := range counts {
		scene := fmt.Sprintf("postgres %d", n)
		t.Run(scene, func(t *testing.T) {
			url, store := database(t, c)
			sides := []Side{
				{"naive, pool 64", n, naive(pool(t, url, naivePool))},
				{"onceguard store", n, func() error { return pair(store) }},
			}
			if n != 8 && n != 1024 {
				sides = append(sides, Side{"onceguard.Do", n, guarded(newGuard(t, store, 0))})
			}
			rows := b.scene(t, scene, m, sides...)
			plain, store1 := rows[0], rows[1]
			ratio := store1.Ratio(plain, rate)
			switch n {
			case 1:
				b.reached(5, 100*(store1.Ratio(plain, p50)-1))
				b.reached(10, store1.Total(commits))
			case 8:
				b.reached(4, ratio)
			case 64:
				b.reached(1, ratio)
				b.reached(7, store1.Ratio(plain, p50))
			case 256:
				b.reached(2, ratio)
				b.reached(8, store1.Median(serverCPU))
				b.reached(9, store1.Total(commits))
				b.reached(12, store1.Total(wal))
				b.reached(11, stored(t, url))
			case 1024:
				b.reached(3, ratio)
			}
		})
	}
}

// stored is the size of the store's tables with indexes and TOAST, divided by
// the receipts in them.
func stored(t testing.TB, url string) float64 {
	t.Helper()
	pgtest.Exec(t, url, "VACUUM")
	size := pgtest.Value[int64](t, url, `SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relname LIKE 'onceguard\_%'`)
	rows := pgtest.Value[int64](t, url, `SELECT count(*) FROM onceguard_receipt`)
	return float64(size) / float64(rows)
}

// slowDisk is the comparison where each sync takes a millisecond longer.
func (b *Bench) slowDisk(t *testing.T) {
	counts := b.callers("postgres +1ms %d", 1, 8, 64, 256, 1024)
	if len(counts) == 0 {
		return
	}
	env, err := slowSync(t, time.Millisecond)
	if errors.Is(err, errNoCompiler) {
		b.notef("Left out: %v.", err)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c, m := b.server(t, env)
	for _, n := range counts {
		scene := fmt.Sprintf("postgres +1ms %d", n)
		t.Run(scene, func(t *testing.T) {
			url, store := database(t, c)
			rows := b.scene(t, scene, m,
				Side{"naive, pool 64", n, naive(pool(t, url, naivePool))},
				Side{"onceguard store", n, func() error { return pair(store) }})
			if n == 256 {
				b.reached(6, rows[1].Ratio(rows[0], rate))
			}
		})
	}
}

// replays measures what a repeat costs that memory cannot answer.
func (b *Bench) replays(t *testing.T) {
	counts := b.callers("replay %d", 1, 64, 256)
	if len(counts) == 0 {
		return
	}
	c, m := b.server(t, nil)
	url, store := database(t, c)
	const kept = 10_000
	claims := make([]onceguard.Claim, kept)
	keys := make([]string, kept)
	g := newGuard(t, store, -1)
	fill := pool(t, url, 16)
	next := make(chan int, kept)
	for i := range kept {
		keys[i] = fmt.Sprintf("order-%d", i)
		next <- i
	}
	close(next)
	if _, err := drive(64, time.Minute, func() error {
		i, ok := <-next
		if !ok {
			return errDone
		}
		rec, err := onceguard.Do(context.Background(), g, keyed(keys[i]), func(context.Context, *onceguard.Attempt) (charge, error) { return charge{keys[i], note}, nil })
		if err != nil {
			return err
		}
		answers, err := store.Get(context.Background(), []onceguard.RequestID{rec.RequestID})
		if err := answered(answers, err, onceguard.Found); err != nil {
			return err
		}
		claims[i] = onceguard.Claim{
			ID: rec.RequestID, Scope: "default", Action: "charge.create", Key: keys[i], Process: "host/1/2/3",
			Fingerprints: []onceguard.Fingerprint{answers[0].Record.Fingerprint}, Lease: time.Minute,
			ResultRetention: onceguard.DefaultResultRetention, IdentityRetention: onceguard.DefaultIdentityRetention,
		}
		_, err = fill.Exec(context.Background(), "INSERT INTO naive VALUES ($1, 4, $2)", rec.RequestID[:], body)
		return err
	}); !errors.Is(err, errDone) {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "VACUUM ANALYZE")
	plain := func(conns int32) func() error {
		p := pool(t, url, conns)
		return func() error {
			var state int16
			var result []byte
			return p.QueryRow(context.Background(), naiveSelect, claims[rand.IntN(kept)].ID[:]).Scan(&state, &result)
		}
	}
	for _, n := range counts {
		scene := fmt.Sprintf("replay %d", n)
		t.Run(scene, func(t *testing.T) {
			rows := b.scene(t, scene, m,
				Side{"SELECT by key, pool 16", n, plain(16)},
				Side{"SELECT by key, pool 64", n, plain(64)},
				Side{"store: claim of a receipt", n, func() error {
					claim := claims[rand.IntN(kept)]
					claim.Owner = newOwner()
					answers, err := store.Claim(context.Background(), []onceguard.Claim{claim})
					return answered(answers, err, onceguard.Settled)
				}},
				Side{"store: Get", n, func() error {
					answers, err := store.Get(context.Background(), []onceguard.RequestID{claims[rand.IntN(kept)].ID})
					return answered(answers, err, onceguard.Found)
				}},
				Side{"onceguard.Do, no memory", n, func() error { return repeat(g, keys[rand.IntN(kept)]) }})
			if n == 256 { // by claims, which is how a guard asks, to the better of both pools
				b.reached(13, min(rows[2].Ratio(rows[0], rate), rows[2].Ratio(rows[1], rate)))
			}
		})
	}
}

var errDone = errors.New("all is done")

func keyed(order string) onceguard.Request {
	return onceguard.Request{Action: "charge.create", Key: onceguard.KeyOf("order", order), Input: charge{order, note}}
}

// repeat is a whole guarded call that must be a replay.
func repeat(g *onceguard.Guard, order string) error {
	rec, err := onceguard.Do(context.Background(), g, keyed(order), func(context.Context, *onceguard.Attempt) (charge, error) {
		return charge{}, errors.New("the effect ran")
	})
	if err == nil && !rec.Replayed {
		err = errors.New("not a replay")
	}
	return err
}
