package pgstore

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// A plan that is made while the tables are small stays in use while they grow.
// None of the hot statements may have a generic plan that scans.
func TestPlansNeverScan(t *testing.T) {
	ctx := context.Background()
	url := pgtest.Server(t).Database(t)
	if err := Migrate(ctx, url); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sql := newStatements(false)
	var sweep, prune, list query
	sweep.and(lapsed, int32(onceguard.DefaultMaxAttempts))
	prune.and("(created_at, request_id) > (?::timestamptz, ?::bytea)", time.Now(), []byte{1})
	list.and("(created_at, request_id) < (?::timestamptz, ?::bytea)", time.Now(), []byte{1})
	grow := func(rows int) string {
		return fmt.Sprintf(`INSERT INTO onceguard_receipt (request_id, scope, action, key, fingerprint_version, fingerprint_key, fingerprint,
			policy, horizon_ns, refusals, max_attempts, state, attempt, owner, process, run_after_never_will,
			created_at, keyed_at, claimed_at, lease_until, since, result_retention_ns, identity_retention_ns)
			SELECT sha256(int4send(i::integer)), 's', 'a', i::text, 1, 'k', sha256('x'), 0, 0, 0, 0, CASE mod(i, 100) WHEN 0 THEN 1 ELSE 4 END, 1, sha256('o'), 'p', false,
			now(), now(), now(), now(), now(), -1, -1 FROM generate_series((SELECT count(*) FROM onceguard_receipt) + 1, %d) AS i`, rows)
	}
	for _, size := range []struct {
		name, prepare string
	}{
		{"empty", "SELECT 1"},
		{"empty with statistics", "ANALYZE"},
		{"one row with statistics", grow(1) + "; ANALYZE"},
		{"grown since the statistics", grow(3000)},
		{"grown with statistics", "ANALYZE"},
	} {
		t.Run(size.name, func(t *testing.T) {
			pgtest.Exec(t, url, size.prepare)
			err := s.with(ctx, "plan", common, func(ctx context.Context, c *conn) error {
				if _, err := c.Exec(ctx, "SET plan_cache_mode = force_generic_plan"); err != nil {
					return err
				}
				for name, text := range map[string]string{
					"insertFirst": sql.insertFirst.sql, "insertMany": sql.insertMany.sql, "settle": sql.settle, "settleMany": sql.settleMany.sql,
					"renew": sql.renew.sql, "getMany": sql.getMany.sql, "now": sql.now.sql,
					"lock": sql.lock, "clock": sql.clock, "updateRow": sql.updateRow, "deleteRow": sql.deleteRow,
					"insertEvidence": sql.insertEvidence, "readEvidence": readEvidence,
					"sweep": sweep.sql(columnsBare, "created_at, request_id", 100),
					"prune": prune.sql(columnsBare, "created_at, request_id", 100),
					"list":  list.sql(columns, "created_at DESC, request_id DESC", 100),
				} {
					plan, err := explain(ctx, c.Conn.Conn(), name, text)
					if err != nil {
						return fmt.Errorf("%s: %w", name, err)
					}
					if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Hash") || strings.Contains(plan, "Merge") || !strings.Contains(plan, "Index") {
						t.Errorf("%s:\n%s", name, plan)
					}
					if name == "sweep" && !strings.HasPrefix(size.name, "grown") {
						continue // any index will do, and the next sweep is planned anew
					}
					if want := each[name]; want != nil && !want.MatchString(plan) {
						t.Errorf("%s does not find its rows as it should:\n%s", name, plan)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// each says how statements must find their rows: those with arrays one by one, in
// their order.
var each = map[string]*regexp.Regexp{
	"settleMany": regexp.MustCompile(`(?s)Nested Loop[^>]*->  Function Scan on u [^>]*->  Index Scan using onceguard_receipt_pkey[^>]*Index Cond: \(\(request_id >= u.id\) AND \(request_id <= u.id\)\)`),
	"sweep":      regexp.MustCompile(`Index Scan using onceguard_receipt_open`),
	"prune":      regexp.MustCompile(`Index Scan using onceguard_receipt_created on onceguard_receipt .*\n *Index Cond: \(.*created_at >= `),
	"list":       regexp.MustCompile(`Index Scan Backward using onceguard_receipt_created on onceguard_receipt .*\n *Index Cond: \(.*created_at <= `),
	"getMany":    regexp.MustCompile(`^Index Scan using onceguard_receipt_pkey .*\n *Index Cond: \(request_id = ANY`),
}

// explain shows the generic plan of a statement: EXECUTE with nulls is planned
// without looking at them.
func explain(ctx context.Context, c *pgx.Conn, name, text string) (string, error) {
	if _, err := c.Exec(ctx, "PREPARE plan_"+name+" AS "+text); err != nil {
		return "", err
	}
	defer c.Exec(ctx, "DEALLOCATE plan_"+name)
	n := 0
	for i := 1; strings.Contains(text, fmt.Sprintf("$%d", i)); i++ {
		n = i
	}
	args := strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ")
	if args != "" {
		args = "(" + args + ")"
	}
	rows, err := c.Query(ctx, "EXPLAIN EXECUTE plan_"+name+args, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		return "", err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, "\n"), err
}

// A claim that finds its request finished must cost no write: no transaction
// number, no log.
func TestReplayWritesNothing(t *testing.T) {
	ctx := context.Background()
	url := pgtest.Server(t).Database(t)
	if err := Migrate(ctx, url); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := testClaim(t)
	if list, err := s.Claim(ctx, []claim{c}); err != nil || list[0].Err != nil {
		t.Fatal(err, list)
	}
	if list, err := s.Settle(ctx, []settlement{testSuccess(c)}); err != nil || list[0].Err != nil {
		t.Fatal(err, list)
	}
	c.Owner[0]++
	next := func() uint64 {
		return uint64(pgtest.Value[int64](t, url, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))
	}
	before := next()
	for range 10 {
		list, err := s.Claim(ctx, []claim{c})
		if err != nil || list[0].Outcome.String() != "settled" {
			t.Fatal(err, list)
		}
	}
	// Autovacuum may take one or two meanwhile; a replay that wrote would take one each.
	if after := next(); after-before >= 10 {
		t.Errorf("10 replays used %d transaction numbers", after-before)
	}
}
