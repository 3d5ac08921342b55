package bench

import (
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/pgtest"
)

// variant is one way to keep receipts, with the columns, the conditions and the
// answers of the store.
type variant struct {
	name    string
	alter   string                   // of the store's fresh tables
	derive  func(said) (said, error) // of the store's statements
	split   bool                     // claims and outcomes in tables of their own
	brin    bool                     // then the index of times is a BRIN
	apart   bool                     // and what moves of open claims in a third
	store   bool                     // through pgstore itself
	part    bool                     // what a lone call's time goes to; only lone calls are measured
	blind   bool                     // claims do not ask for the epoch
	crowded bool                     // measured again beside very many receipts
}

const (
	noOpenIndex = "DROP INDEX onceguard_receipt_open;"
	brinCreated = "DROP INDEX onceguard_receipt_created; CREATE INDEX onceguard_receipt_created ON onceguard_receipt USING brin (created_at)"
)

var variants = []variant{
	{name: "A: as it is, through pgstore", store: true},
	{name: "A: as it is, its statements", crowded: true},
	{name: "B: no index of open rows", alter: noOpenIndex, crowded: true},
	{name: "B, fillfactor 70", alter: noOpenIndex + "ALTER TABLE onceguard_receipt SET (fillfactor = 70)"},
	{name: "B, fillfactor 50", alter: noOpenIndex + "ALTER TABLE onceguard_receipt SET (fillfactor = 50)"},
	{name: "C: claims + receipts", split: true, derive: insertOnly, crowded: true},
	{name: "C, lean answer", split: true, derive: insertOnlyLean},
	{name: "C, open claims apart, lean", split: true, apart: true, derive: openApart, crowded: true},
	{name: "D: A, lean answer", derive: lean},
	{name: "D: A, BRIN on created_at", alter: brinCreated, crowded: true},
	{name: "D: A, no digest", derive: noDigest},
	{name: "D: A, narrower row", derive: narrow},
	{name: "D: A, BRIN, narrower row", alter: brinCreated, derive: narrow},
	{name: "C, BRIN, narrower row, lean answer", split: true, brin: true, derive: insertOnlyNarrow},
	{name: "A, without the epoch", part: true, blind: true},
	{name: "A, primary key alone", part: true, alter: noOpenIndex + "DROP INDEX onceguard_receipt_created"},
	{name: "A, primary key alone, lean, no epoch", part: true, blind: true, derive: lean, alter: noOpenIndex + "DROP INDEX onceguard_receipt_created"},
	{name: "naive: two statements", part: true, derive: func(s said) (said, error) { return naiveSaid, nil }},
}

// naiveSaid are the naive statements with the parameters of the store: those
// that they do not use still travel.
var naiveSaid = said{
	claim: naiveInsert + ` RETURNING coalesce(` + unused("$2::text, $3::text, $4::text, $5::smallint, $6::text, $7::bytea, $8::smallint, $9::bigint, $10::smallint, $11::integer, $12::bytea, $13::text, $14::boolean, $15::bigint, $16::bigint, $17::bigint, $18::bytea, $19::timestamptz, $20::integer, $21::boolean, $22::text") + `)`,
	settle: `UPDATE naive SET state = 4, result = $7::bytea WHERE id = $1::bytea AND state = 1 RETURNING coalesce(` +
		unused("$2::bigint, $3::bytea, $4::smallint, $5::text, $6::text, $8::text, $9::bytea, $10::smallint") + `)`,
	claims: "SELECT 1", settles: "SELECT 1", get: "SELECT 1",
}

// unused names parameters without computing anything from them: coalesce stops
// at its first argument.
func unused(params string) string {
	list := strings.Split(params, ", ")
	for i, p := range list {
		list[i] = "(" + p + ")::text"
	}
	return "1::text, " + strings.Join(list, ", ")
}

// prepare makes the variant's tables in a database of the store.
func (v variant) prepare(t testing.TB, url string, s said) said {
	t.Helper()
	if v.alter != "" {
		pgtest.Exec(t, url, v.alter)
	}
	if v.derive != nil {
		var err error
		if s, err = v.derive(s); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
	}
	if !v.split {
		return s
	}
	ends := strings.Fields(ending)
	outcome, index := outcomeTable, "btree"
	if v.brin {
		index = "brin"
	}
	if v.apart {
		ends, outcome = append(ends, strings.Fields(moving)...), movedTable
	}
	made := pgtest.Value[string](t, url, `SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
			|| coalesce(' DEFAULT ' || pg_get_expr(adbin, adrelid), ''), ', ' ORDER BY attnum)
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid = 'onceguard_receipt'::regclass AND attnum > 0 AND NOT attisdropped AND NOT attname = ANY ($1)`, ends)
	pgtest.Exec(t, url, `CREATE TABLE onceguard_claim (`+made+`, PRIMARY KEY (request_id)); `+claimIndex+index+` (created_at); `+outcome)
	if v.apart {
		pgtest.Exec(t, url, openTable)
	}
	columns := pgtest.Value[string](t, url, `SELECT string_agg('c.' || quote_ident(attname), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = 'onceguard_claim'::regclass AND attnum > 0`)
	for _, sql := range []*string{&s.settle, &s.settles, &s.get, &s.list} {
		*sql = strings.ReplaceAll(*sql, "$CLAIM", columns)
	}
	return s
}
