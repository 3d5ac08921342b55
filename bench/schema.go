package bench

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// subject is a variant in its database, with what was read of it.
type subject struct {
	variant
	url            string
	said           said
	d              driver
	batch          []Sample // claims and outcomes in lists of many
	first, last    []Sample // lone claims, lone outcomes
	replays        []Sample
	kinds          map[string]float64 // WAL records by kind, of all batches
	fresh, kept    float64            // stored bytes a receipt: before the first VACUUM; with one now and then
	packed         float64            // after VACUUM FULL
	hot, dead      float64            // share of updates that touched no index; rows a receipt that only VACUUM removes
	sweep, list    float64            // pages that one sweep and a listing of the newest 100 look at
	after, afterFP float64            // WAL an operation right after a checkpoint; of it, images of whole pages
}

// lag is how many lists are open at a time: a claim's row is settled when those
// of other callers were inserted behind it.
const lag = 3

// schema weighs the store's schema against others. Every variant has a database
// of its own on one server, without autovacuum, and does the same work in turns
// with the others; its numbers of operations are fixed, so that counters repeat.
func (b *Bench) schema(t *testing.T) {
	if !b.wants("schema") {
		return
	}
	own := maps.Clone(settings)
	own["autovacuum"], own["track_activity_query_size"], own["wal_keep_size"] = "off", "32768", "4GB"
	c := pgtest.Start(t, pgtest.Options{Settings: own})
	m := b.meter(t, c)
	url := c.URL("postgres")
	if !pgtest.Value[bool](t, url, "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_walinspect')") {
		b.notef("Left out: the schema scene, which counts WAL records with the server's extension pg_walinspect; it is not installed.")
		return
	}
	pgtest.Exec(t, url, "CREATE EXTENSION pg_walinspect")
	subjects := make([]*subject, len(variants))
	var heard said
	for i, v := range variants {
		x := &subject{variant: v, kinds: map[string]float64{}}
		var store *pgstore.Store
		x.url, store = database(t, c)
		if i == 0 {
			heard = overhear(t, x.url, store)
		}
		if x.said = v.prepare(t, x.url, heard); v.store {
			x.d = throughStore{store}
		} else {
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			d := connect(t, x.url, x.said)
			d.epoch = !v.blind
			x.d = d
		}
		t.Cleanup(func() { x.d.close() })
		subjects[i] = x
	}
	sizes := schemaSizes{lists: 12, list: 64, lone: 12, crowd: 50_000}
	if b.Slice < time.Second { // quick
		sizes = schemaSizes{lists: 3, list: 64, lone: 3, crowd: 2000}
	}
	for round := range b.Rounds + 4 { // the first is the warm-up
		for i := range subjects {
			x := subjects[(i+round)%len(subjects)]
			if err := x.round(t.Context(), m, sizes, round > 0); err != nil {
				t.Fatalf("schema, %s: %v", x.name, err)
			}
			if round == 0 && !x.part {
				x.fresh = x.size(t)
			}
			// As autovacuum would, at a time when nothing is measured.
			if round%2 == 0 && !x.part {
				x.vacuum(t)
			}
		}
	}
	for _, x := range subjects {
		x.d.close() // which reports the session's statistics
		if !x.part {
			x.weigh(t)
		}
	}
	for _, x := range subjects {
		if x.crowded {
			x.among(t, m, sizes)
		}
		b.logf("schema %-36s %6.0f B WAL  %6.1f + %6.1f us  %4.0f B", x.name, Row{Samples: x.batch}.Total(wal),
			Row{Samples: x.first}.Median(serverCPU), Row{Samples: x.last}.Median(serverCPU), x.kept)
	}
	b.Schema = schemaTables(subjects, sizes)
}

// schemaSizes are the lists a round, requests a list, calls of a short run of
// lone calls, and how many receipts stand in the tables that are measured again.
type schemaSizes struct{ lists, list, lone, crowd int }

// round measures one variant once.
func (x *subject) round(ctx context.Context, m *meter, n schemaSizes, counts bool) error {
	timed := func(into *[]Sample, ops int, run func() error) error {
		s, from, err := m.count(ctx, ops, run)
		if err != nil || !counts {
			return err
		}
		if into == &x.batch {
			if err := m.walKinds(ctx, from, x.kinds); err != nil {
				return err
			}
		}
		*into = append(*into, s)
		return nil
	}
	var done []request
	if !x.part {
		if err := timed(&x.batch, n.lists*n.list, func() error { return x.lists(ctx, n, &done) }); err != nil {
			return err
		}
		if err := timed(&x.replays, len(done), func() error {
			for list := done; len(list) > 0; list = list[n.list:] {
				if err := x.d.get(ctx, list[:n.list]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for range shortRuns {
		lone := newRequests(n.lone)
		each := func(run func(context.Context, []request) error) func() error {
			return func() error {
				for i := range lone {
					if err := run(ctx, lone[i:i+1]); err != nil {
						return err
					}
				}
				return nil
			}
		}
		if err := timed(&x.first, n.lone, each(x.d.claim)); err != nil {
			return err
		}
		if err := timed(&x.last, n.lone, each(x.d.settle)); err != nil {
			return err
		}
	}
	return nil
}

// shortRuns are how many short runs of lone calls a round has: what disturbs one
// of them leaves the lower quartile alone.
const shortRuns = 3

// lists claims and settles, with some lists open meanwhile.
func (x *subject) lists(ctx context.Context, n schemaSizes, done *[]request) error {
	var open [][]request
	for i := 0; i < n.lists || len(open) > 0; i++ {
		if i < n.lists {
			list := newRequests(n.list)
			if err := x.d.claim(ctx, list); err != nil {
				return err
			}
			open = append(open, list)
		}
		if len(open) == lag || i >= n.lists {
			if err := x.d.settle(ctx, open[0]); err != nil {
				return err
			}
			*done = append(*done, open[0]...)
			open = open[1:]
		}
	}
	return nil
}
