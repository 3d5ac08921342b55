package bench

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard/internal/pgtest"
)

// An outcome in a table of its own must not be written beside a takeover of the
// same attempt, whichever comes first, although the claim's row is not changed
// by it. Without the lock in the insert both would happen: then a receipt would
// say "succeeded" while the effect is started again.
func TestInsertOnlyFence(t *testing.T) {
	const take = `SELECT attempt FROM onceguard_claim WHERE request_id = $1 FOR UPDATE`
	const over = `UPDATE onceguard_claim SET attempt = attempt + 1, owner = 'another' WHERE request_id = $1`
	const receipts = `SELECT count(*) FROM onceguard_outcome WHERE request_id = $1`
	for _, form := range []struct {
		name   string
		derive func(said) (said, error)
	}{{"whole answer", insertOnly}, {"lean answer", insertOnlyLean}} {
		t.Run(form.name, func(t *testing.T) {
			c := pgtest.Start(t, pgtest.Options{Settings: map[string]string{"track_activity_query_size": "32768"}})
			url, store := database(t, c)
			s := variant{split: true, derive: form.derive}.prepare(t, url, overhear(t, url, store))
			d, other := connect(t, url, s), session(t, url)
			defer d.close()
			waits := func() {
				pgtest.WaitFor(t, url, `SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`)
			}
			for _, size := range []int{1, 12} {
				late, early := newRequests(size), newRequests(size)
				for _, list := range [][]request{late, early} {
					if err := d.claim(t.Context(), list); err != nil {
						t.Fatal(err)
					}
				}
				// The takeover first: the outcome waits for it and then finds that the attempt is over.
				begin := run(t, other, "BEGIN")
				begin(take, late[0].id[:])
				begin(over, late[0].id[:])
				done := make(chan error, 1)
				go func() { done <- d.settle(context.Background(), late) }()
				waits()
				begin("COMMIT")
				if err := <-done; err == nil || !strings.Contains(err.Error(), "rows, not") {
					t.Errorf("%d: the outcome of an attempt that was taken over gave %v", size, err)
				}
				if n := pgtest.Value[int64](t, url, receipts, late[0].id[:]); n != 0 {
					t.Errorf("%d: %d receipts of an attempt that was taken over", size, n)
				}
				// The outcome first: the takeover waits for it, and its next statement sees it.
				run(t, d.conn, "BEGIN")
				if err := d.settle(t.Context(), early); err != nil {
					t.Fatal(err)
				}
				// One that only updates passes by, which is why takeovers must lock first.
				begin("BEGIN")
				begin("SET LOCAL lock_timeout = '20s'")
				begin(over, early[0].id[:])
				begin("ROLLBACK")
				begin("BEGIN")
				locked := make(chan int64, 1)
				go func() {
					var n int64
					_ = other.QueryRow(context.Background(), take, early[0].id[:]).Scan(&n) // a failure leaves 0
					locked <- n
				}()
				waits()
				run(t, d.conn, "COMMIT")
				if n := <-locked; n != 1 {
					t.Fatalf("%d: attempt %d is locked", size, n)
				}
				var n int64
				if err := other.QueryRow(t.Context(), receipts, early[0].id[:]).Scan(&n); err != nil || n != 1 {
					t.Errorf("%d: the takeover sees %d receipts, %v", size, n, err)
				}
				begin("ROLLBACK")
			}
		})
	}
}

func session(t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// run executes one statement and returns how to execute others.
func run(t testing.TB, conn *pgx.Conn, sql string) func(string, ...any) {
	t.Helper()
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(sql)
	return exec
}

// A variant of a statement that the store no longer makes is an error.
func TestEditsMustFit(t *testing.T) {
	if got, err := edit("a b a", "a", "c"); err != nil || got != "c b c" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := edit("a b", "c", "d"); err == nil {
		t.Error("a text that is not there was replaced")
	}
	if got, err := cut("a b c", "a", "c"); err != nil || got != " b " {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := cut("a b c", "c", "a"); err == nil {
		t.Error("something was cut out of the wrong order")
	}
	for name, derive := range map[string]func(said) (said, error){
		"lean": lean, "noDigest": noDigest, "narrow": narrow, "insertOnly": insertOnly, "openApart": openApart,
	} {
		if _, err := derive(said{}); err == nil {
			t.Errorf("%s made something of nothing", name)
		}
	}
}

func TestSchemaTables(t *testing.T) {
	s := []Sample{{Ops: 100, Elapsed: 1e9, Server: 4e6, WAL: 120_000, Served: true}}
	x := &subject{
		variant: variant{name: "A: as it is", crowded: true}, batch: s, first: s, last: s, replays: s,
		kinds: map[string]float64{"Btree/INSERT_LEAF": 290, "Btree/SPLIT_R": 10, "Heap/LOCK": 50, sizeOf + "Heap/LOCK": 2700, pageImages: 1e6},
		fresh: 900, kept: 800, packed: 700, hot: -1, dead: 1, sweep: 7, list: 9, after: 5000, afterFP: 4000,
	}
	text := schemaTables([]*subject{x}, schemaSizes{lists: 2, list: 64, lone: 3})
	for _, want := range []string{
		"| A: as it is | 1200 | 3.00 | 0.50 | 900, 800, 700 | - | 1.00 | 40 | 40 | 40 + 40 | 100 |",
		"| A: as it is | 7 | 9 | 5,000 | 4,000 |", "| A: as it is | 40 | 40 | 80 |",
		"| A: as it is | 0 | 0 | 0 | 0 | 27 | 0 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}
