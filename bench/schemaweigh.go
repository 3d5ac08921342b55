package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard/internal/pgtest"
)

// tables of a variant, as a condition on pg_class and pg_stat_user_tables.
func (x *subject) tables() string {
	if !x.split {
		return `relname = 'onceguard_receipt'`
	}
	return `relname IN ('onceguard_claim', 'onceguard_open', 'onceguard_outcome')`
}

// weigh reads what is stored, and what updates left behind.
func (x *subject) weigh(t testing.TB) {
	t.Helper()
	// A session reports when it ends, which is after its client left.
	pgtest.WaitFor(t, x.url, `SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'`)
	x.hot = pgtest.Value[float64](t, x.url, `SELECT coalesce(sum(n_tup_hot_upd)::float8 / nullif(sum(n_tup_upd), 0), -1) FROM pg_stat_user_tables WHERE `+x.tables())
	x.dead = pgtest.Value[float64](t, x.url, `SELECT sum(n_tup_upd - n_tup_hot_upd + n_tup_del)::float8 / (SELECT count(*) FROM `+x.identity()+`) FROM pg_stat_user_tables WHERE `+x.tables())
	x.vacuum(t)
	x.kept = x.size(t)
	pgtest.Exec(t, x.url, "VACUUM FULL")
	x.packed = x.size(t)
}

// size is what is stored a receipt, with indexes and TOAST.
func (x *subject) size(t testing.TB) float64 {
	t.Helper()
	return pgtest.Value[float64](t, x.url, `SELECT sum(pg_total_relation_size(oid))::float8 / (SELECT count(*) FROM `+x.identity()+`) FROM pg_class WHERE relkind = 'r' AND `+x.tables())
}

func (x *subject) vacuum(t testing.TB) {
	t.Helper()
	tables := "onceguard_receipt"
	if x.split {
		tables = "onceguard_claim, onceguard_outcome"
	}
	if x.apart {
		tables += ", onceguard_open"
	}
	pgtest.Exec(t, x.url, "VACUUM "+tables)
}

func (x *subject) identity() string {
	if x.split {
		return "onceguard_claim"
	}
	return "onceguard_receipt"
}

// among measures a variant beside very many receipts: what a sweep has to look
// at, and what claims and outcomes log right after a checkpoint, when the first
// change of each page logs it whole.
func (x *subject) among(t testing.TB, m *meter, n schemaSizes) {
	t.Helper()
	ctx := t.Context()
	for _, table := range []string{"onceguard_receipt", "onceguard_claim", "onceguard_outcome"} {
		if x.split == (table == "onceguard_receipt") {
			continue
		}
		columns := pgtest.Value[string](t, x.url, `SELECT string_agg(CASE WHEN attname = 'request_id' THEN 'sha256(int8send(n))'
				WHEN atttypid = 'timestamptz'::regtype THEN quote_ident(attname) || ' - n * interval ''1 ms''' ELSE quote_ident(attname) END, ', ' ORDER BY attnum)
			FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped`, table)
		pgtest.Exec(t, x.url, fmt.Sprintf(`INSERT INTO %[1]s SELECT %[2]s FROM (SELECT * FROM %[1]s LIMIT 1) one, generate_series(1::bigint, %[3]d) n`, table, columns, n.crowd))
	}
	pgtest.Exec(t, x.url, "VACUUM ANALYZE")
	d := connect(t, x.url, x.said)
	defer d.close()
	// Plans are made before the checkpoint, and claims are left for the sweep.
	for range 6 {
		for _, run := range []func(context.Context, []request) error{d.claim, d.settle} {
			if err := run(ctx, newRequests(0)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.claim(ctx, newRequests(n.list)); err != nil {
		t.Fatal(err)
	}
	pgtest.Exec(t, x.url, "CHECKPOINT")
	kinds := map[string]float64{}
	n.lists = 10
	s, from, err := m.count(ctx, n.lists*n.list, func() error {
		return (&subject{d: d}).lists(ctx, n, new([]request))
	})
	if err == nil {
		err = m.walKinds(ctx, from, kinds)
	}
	if err != nil {
		t.Fatal(err)
	}
	x.after, x.afterFP = wal(s), kinds[pageImages]/float64(s.Ops)
	x.sweep, x.list = pagesRead(t, d.conn, x.said.sweep), pagesRead(t, d.conn, x.said.list)
}

// pagesRead is how many pages a query looks at, in memory or not.
func pagesRead(t testing.TB, conn *pgx.Conn, sql string) float64 {
	t.Helper()
	var text string
	if err := conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  float64 `json:"Shared Hit Blocks"`
			Read float64 `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%v in %s", err, text)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}
