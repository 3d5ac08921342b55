package bench

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

const fewRows = 10_000

// nthID is the request ID of the nth generated receipt.
func nthID(n int) onceguard.RequestID {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

// generate multiplies the one receipt of a fresh store inside the database. The
// copies differ in the request ID and in all times, which spread over 20 days;
// the oldest are past their result's retention. It asks the catalog for the
// columns, so that it outlives changes of the schema.
func generate(t testing.TB, b *Bench, url string, rows int) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var columns []string
	if err := conn.QueryRow(ctx, `SELECT array_agg(CASE
			WHEN attname = 'request_id' THEN 'sha256(int8send(n))'
			WHEN atttypid = 'timestamptz'::regtype THEN quote_ident(attname) || ' - age'
			ELSE quote_ident(attname) END ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = 'onceguard_receipt'::regclass AND attnum > 0 AND NOT attisdropped`).Scan(&columns); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off; CREATE TEMP TABLE one AS SELECT * FROM onceguard_receipt LIMIT 1"); err != nil {
		t.Fatal(err)
	}
	// The first overdue ones are 40 days old; the rest are up to 20.
	insert := `INSERT INTO onceguard_receipt SELECT ` + strings.Join(columns, ", ") + ` FROM one, LATERAL (
		SELECT n, CASE WHEN n < $3 THEN interval '40 days' ELSE interval '20 days' END - n * interval '20 days' / $4::bigint AS age
		FROM generate_series($1::bigint, $2::bigint) n) s`
	began := time.Now()
	const chunk = 100_000
	for from := 0; from < rows; from += chunk {
		if _, err := conn.Exec(ctx, insert, from, min(from+chunk, rows)-1, lapsed*(b.Rounds+2), rows); err != nil {
			t.Fatal(err)
		}
		if done := from + chunk; done%1_000_000 == 0 && done < rows {
			b.logf("%s of %s rows after %s", number(float64(done)), number(float64(rows)), time.Since(began).Round(time.Second))
		}
	}
	if _, err := conn.Exec(ctx, "DROP TABLE one"); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, url, "VACUUM ANALYZE")
	pgtest.Exec(t, url, "CHECKPOINT")
	b.logf("%s rows in %s", number(float64(rows)), time.Since(began).Round(time.Second))
}

// lapsed is how many claims a sweep finds, and how many rows a prune looks at.
const lapsed = 500

// table is a store with very many receipts or with few.
type table struct {
	name  string
	rows  int
	url   string
	store *pgstore.Store
}

// largeTable compares a table of very many receipts with one of few, on one
// server in the same rounds.
func (b *Bench) largeTable(t *testing.T, rows int) {
	if !b.wants("rows") {
		return
	}
	c, m := b.server(t, nil)
	tables := []table{{name: number(fewRows) + " rows", rows: fewRows}, {name: number(float64(rows)) + " rows", rows: rows}}
	for i := range tables {
		x := &tables[i]
		x.url, x.store = database(t, c)
		if err := pair(x.store); err != nil {
			t.Fatal(err)
		}
		generate(t, b, x.url, x.rows)
	}
	worst := 0.0
	compare := func(what string, callers int, op func(table) func() error) {
		scene := fmt.Sprintf("rows %d: %s", callers, what)
		got := b.scene(t, scene, m, Side{tables[0].name, callers, op(tables[0])}, Side{tables[1].name, callers, op(tables[1])})
		worst = max(worst, 1/got[1].Ratio(got[0], rate))
	}
	insert := func(x table) func() error { return func() error { return pair(x.store) } }
	compare("claim and settle", 1, insert)
	compare("claim and settle", 64, insert)
	compare("replay", 1, func(x table) func() error {
		return func() error {
			answers, err := x.store.Get(context.Background(), []onceguard.RequestID{nthID(rand.IntN(x.rows))})
			return answered(answers, err, onceguard.Found)
		}
	})
	worst = max(worst, b.housekeeping(t, "rows: sweep, 500 lapsed", tables, func(x table) error {
		parked, err := x.store.Sweep(context.Background(), lapsed)
		if err == nil && len(parked) != lapsed {
			err = fmt.Errorf("%d were parked, not %d", len(parked), lapsed)
		}
		return err
	}))
	cursors := make(map[string]string) // a prune goes on where the one before stopped
	worst = max(worst, b.housekeeping(t, "rows: prune, 500 results", tables, func(x table) error {
		p, err := x.store.Prune(context.Background(), onceguard.PruneRequest{Limit: lapsed, Cursor: cursors[x.name]})
		if err == nil && p.Tombstoned == 0 {
			err = fmt.Errorf("nothing was dropped: %+v", p)
		}
		cursors[x.name] = p.Next
		return err
	}))
	b.reached(21, worst)
}

// housekeeping times single calls, which take turns. Before each, claims are
// planted that a sweep will find.
func (b *Bench) housekeeping(t *testing.T, scene string, tables []table, act func(table) error) float64 {
	got := make([]Row, len(tables))
	for round := range b.Rounds + 1 {
		for i, x := range tables {
			if strings.Contains(scene, "sweep") {
				plant(t, x.store)
			}
			began := time.Now()
			if err := act(x); err != nil {
				t.Fatalf("%s, %s: %v", scene, x.name, err)
			}
			took := time.Since(began)
			got[i].Scene, got[i].Side, got[i].Callers = scene, x.name, 1
			if round > 0 { // the first is the warm-up
				got[i].Samples = append(got[i].Samples, Sample{Ops: 1, Elapsed: took, P50: took, P99: took})
			}
		}
	}
	b.Rows = append(b.Rows, got...)
	for _, r := range got {
		b.logf("%-28s %-26s %8.0f us", scene, r.Side, r.Median(p50))
	}
	return got[1].Median(p50) / got[0].Median(p50)
}

// plant makes claims whose lease is over at once.
func plant(t testing.TB, s *pgstore.Store) {
	t.Helper()
	claims := make([]onceguard.Claim, lapsed)
	for i := range claims {
		id := newID()
		claims[i] = onceguard.Claim{
			ID: id, Scope: "default", Action: "charge.create", Key: "order=" + id.String()[4:20], Process: "host/1/2/3",
			Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "0001", Sum: id}}, Owner: onceguard.Token(id[:16]),
			Lease: time.Microsecond, ResultRetention: time.Hour, IdentityRetention: time.Hour,
		}
	}
	answers, err := s.Claim(context.Background(), claims)
	for i := range answers {
		if err == nil {
			err = answered(answers[i:], nil, onceguard.Granted)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
