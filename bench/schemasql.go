package bench

import (
	"fmt"
	"strings"
)

// said are the store's very statements, read from the server while the store
// runs, or those of a variant.
type said struct {
	claims, settles string // for a batch: one array a column
	claim, settle   string // for one
	sweep           string // what a sweeper asks: lapsed claims, oldest first
	list            string // the newest receipts
	get             string // receipts by request ID, for replays
}

// Columns by what may happen to them. The rest of the present table is written
// by the first claim and never again.
const (
	// moving is what takeovers, renewals, releases and parking change.
	moving = "attempt state owner process generation unknown_attempt waived keyed_at claimed_at lease_until since"
	// ending is what an outcome writes.
	ending = "settled_by reason result result_type result_digest result_missing pruned"
)

// edit replaces what must be there: a statement that the store no longer makes
// fails the run instead of measuring something else.
func edit(sql string, pairs ...string) (string, error) {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(sql, pairs[i]) {
			return "", fmt.Errorf("the store's statement has no %q any more:\n%s", pairs[i], sql)
		}
		sql = strings.ReplaceAll(sql, pairs[i], pairs[i+1])
	}
	return sql, nil
}

// cut gives what stands between two texts that must be there.
func cut(sql, from, to string) (string, error) {
	_, rest, ok := strings.Cut(sql, from)
	part, _, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		return "", fmt.Errorf("the store's statement has nothing between %q and %q any more:\n%s", from, to, sql)
	}
	return part, nil
}

// sweepOf is the question of pgstore's sweeper (prune.go there) to a relation
// that has the columns of a receipt.
func sweepOf(from string) string {
	return `SELECT request_id, created_at FROM ` + from + ` WHERE state = 1 AND lease_until <= clock_timestamp() AND (policy IN (0, 3)
		OR attempt >= CASE max_attempts WHEN 0 THEN 5 ELSE max_attempts END
		OR (policy = 1 AND keyed_at + horizon_ns / 1000 * interval '1 microsecond' <= clock_timestamp() + interval '1 second'))
		ORDER BY created_at, request_id LIMIT 500`
}

// listOf is the first page of a listing (list.go there).
func listOf(get, of string) string {
	from, _, _ := strings.Cut(get, " WHERE")
	return from + ` ORDER BY ` + of + `created_at DESC, ` + of + `request_id DESC LIMIT 101`
}

// lean lets an outcome return what its caller does not know: which row, and
// when. The store would take the rest from the claim that it answered.
func lean(s said) (_ said, err error) {
	all, err := cut(s.settle, "RETURNING ", ", clock_timestamp()")
	if err != nil {
		return s, err
	}
	if s.settles, err = edit(s.settles, "RETURNING "+all, "RETURNING request_id, since"); err != nil {
		return s, err
	}
	s.settle, err = edit(s.settle, "RETURNING "+all, "RETURNING request_id, since")
	return s, err
}

// noDigest leaves the digest of a result to whoever reads it or drops it.
func noDigest(s said) (_ said, err error) {
	if s.settles, err = edit(s.settles, "result_digest = u.digest", "result_digest = NULL"); err != nil {
		return s, err
	}
	// The parameter stays in use, so that its type stays known.
	s.settle, err = edit(s.settle, "result_digest = $9::bytea", "result_digest = CASE WHEN $9::bytea IS NULL THEN '\\x00'::bytea END")
	return s, err
}

// narrow stores less of the same: no digest, half of the owner's hash (128 bits,
// as many as the token has), and no time that equals the first claim's.
func narrow(s said) (_ said, err error) {
	if s, err = noDigest(s); err != nil {
		return s, err
	}
	if s.claims, err = edit(s.claims, "n.t, n.t, n.t, n.t + u.lease", "n.t, NULL, NULL, n.t + u.lease", "u.owner, u.process", "substr(u.owner, 1, 16), u.process"); err != nil {
		return s, err
	}
	if s.claim, err = edit(s.claim, "n.t, n.t, n.t, n.t + $15", "n.t, NULL, NULL, n.t + $15", "$12::bytea, $13::text", "substr($12::bytea, 1, 16), $13::text"); err != nil {
		return s, err
	}
	if s.settles, err = edit(s.settles, "owner = u.mine", "owner = substr(u.mine, 1, 16)"); err != nil {
		return s, err
	}
	s.settle, err = edit(s.settle, "owner = $3::bytea", "owner = substr($3::bytea, 1, 16)")
	return s, err
}

// insertOnlyNarrow is insertOnlyLean with what narrow stores.
func insertOnlyNarrow(s said) (_ said, err error) {
	if s, err = narrow(s); err != nil {
		return s, err
	}
	if s, err = insertOnlyLean(s); err != nil {
		return s, err
	}
	if s.settles, err = edit(s.settles, "x.owner = u.mine", "x.owner = substr(u.mine, 1, 16)", "u.digest, u.gap", "NULL::bytea, u.gap"); err != nil {
		return s, err
	}
	s.settle, err = edit(s.settle, "owner = $3::bytea", "owner = substr($3::bytea, 1, 16)", "$9::bytea", "CASE WHEN $9::bytea IS NULL THEN '\\x00'::bytea END")
	return s, err
}

// The tables of the insert-only variants. Index names differ from the store's.
const (
	outcomeTable = `CREATE TABLE onceguard_outcome (
		since timestamptz NOT NULL, attempt bigint NOT NULL, state smallint NOT NULL, result_missing smallint NOT NULL DEFAULT 0,
		pruned boolean NOT NULL DEFAULT false, request_id bytea NOT NULL PRIMARY KEY, settled_by text NOT NULL DEFAULT '',
		reason text NOT NULL DEFAULT '', result_type text NOT NULL DEFAULT '', result_digest bytea, result bytea)`
	// A claim that moves out when it ends takes along what its receipt must keep.
	movedTable = `CREATE TABLE onceguard_outcome (
		since timestamptz NOT NULL, keyed_at timestamptz, claimed_at timestamptz, attempt bigint NOT NULL,
		generation integer NOT NULL, state smallint NOT NULL, result_missing smallint NOT NULL DEFAULT 0,
		unknown_attempt boolean NOT NULL, waived boolean NOT NULL, pruned boolean NOT NULL DEFAULT false,
		request_id bytea NOT NULL PRIMARY KEY, process text NOT NULL, settled_by text NOT NULL DEFAULT '', reason text NOT NULL DEFAULT '',
		result_type text NOT NULL DEFAULT '', owner bytea, result_digest bytea, result bytea)`
	openTable = `CREATE TABLE onceguard_open (
		created_at timestamptz NOT NULL, keyed_at timestamptz, claimed_at timestamptz, lease_until timestamptz, since timestamptz NOT NULL,
		attempt bigint NOT NULL, generation integer NOT NULL DEFAULT 0, state smallint NOT NULL, unknown_attempt boolean NOT NULL DEFAULT false,
		waived boolean NOT NULL DEFAULT false, request_id bytea NOT NULL PRIMARY KEY, process text NOT NULL, owner bytea)`
	claimIndex = `CREATE INDEX onceguard_claim_created ON onceguard_claim USING `
)

// The parameters of an outcome, singly and as columns.
const (
	outcomeColumns = `request_id, attempt, state, since, settled_by, reason, result, result_type, result_digest, result_missing`
	outcomeArrays  = `unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::smallint[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::bytea[], $10::smallint[])
		AS u (id, tried, mine, to_state, by, why, body, type, digest, gap)`
	outcomeOne = `clock_timestamp(), $5::text, $6::text, $7::bytea, $8::text, $9::bytea, $10::smallint`
	mineOne    = `request_id = $1::bytea AND attempt = $2::bigint AND owner = $3::bytea AND state IN (1, 3) AND ($4::smallint = 4 OR NOT unknown_attempt)`
	mineMany   = `x.request_id >= u.id AND x.request_id <= u.id AND x.attempt = u.tried AND x.owner = u.mine AND x.state + 0 IN (1, 3)
		AND (u.to_state = 4 OR NOT x.unknown_attempt)`
)

// insertOnly keeps claims and outcomes in two tables. An outcome is inserted
// while its claim's row is locked, so that a takeover, which locks the row
// FOR UPDATE first, waits for it or is seen by it: see TestInsertOnlyFence.
func insertOnly(s said) (_ said, err error) {
	if s.claims, err = edit(s.claims, "onceguard_receipt", "onceguard_claim"); err != nil {
		return s, err
	}
	if s.claim, err = edit(s.claim, "onceguard_receipt", "onceguard_claim"); err != nil {
		return s, err
	}
	s.settles = `WITH c AS MATERIALIZED (SELECT x.*, u.* FROM ` + outcomeArrays + `, onceguard_claim x WHERE ` + mineMany + ` FOR KEY SHARE OF x),
		w AS (INSERT INTO onceguard_outcome (` + outcomeColumns + `)
			SELECT request_id, attempt, to_state, clock_timestamp(), by, why, body, type, digest, gap FROM c
			ON CONFLICT (request_id) DO NOTHING RETURNING request_id AS settled, since AS at, state AS final, settled_by, reason, result_type, result_digest, result_missing)
		SELECT $CLAIM, w.*, clock_timestamp() FROM w JOIN c ON c.request_id = w.settled`
	s.settle = `WITH c AS MATERIALIZED (SELECT * FROM onceguard_claim WHERE ` + mineOne + ` FOR KEY SHARE),
		w AS (INSERT INTO onceguard_outcome (` + outcomeColumns + `)
			SELECT request_id, attempt, $4::smallint, ` + outcomeOne + ` FROM c
			ON CONFLICT (request_id) DO NOTHING RETURNING request_id AS settled, since AS at, state AS final, settled_by, reason, result_type, result_digest, result_missing)
		SELECT $CLAIM, w.*, clock_timestamp() FROM w JOIN c ON c.request_id = w.settled`
	s.get = `SELECT $CLAIM, o.* FROM onceguard_claim c LEFT JOIN onceguard_outcome o ON o.request_id = c.request_id WHERE c.request_id = ANY ($1::bytea[])`
	s.list = listOf(s.get, "c.")
	s.sweep = sweepOf(`onceguard_claim c`)
	s.sweep, err = edit(s.sweep, "WHERE ", "WHERE NOT EXISTS (SELECT FROM onceguard_outcome o WHERE o.request_id = c.request_id) AND ")
	return s, err
}

// insertOnlyLean is insertOnly with what lean returns.
func insertOnlyLean(s said) (said, error) {
	s, err := insertOnly(s)
	s.settles = `INSERT INTO onceguard_outcome (` + outcomeColumns + `)
		SELECT u.id, u.tried, u.to_state, clock_timestamp(), u.by, u.why, u.body, u.type, u.digest, u.gap
		FROM ` + outcomeArrays + `, onceguard_claim x WHERE ` + mineMany + ` FOR KEY SHARE OF x
		ON CONFLICT (request_id) DO NOTHING RETURNING request_id, since, clock_timestamp()`
	s.settle = `INSERT INTO onceguard_outcome (` + outcomeColumns + `)
		SELECT request_id, attempt, $4::smallint, ` + outcomeOne + ` FROM onceguard_claim WHERE ` + mineOne + ` FOR KEY SHARE
		ON CONFLICT (request_id) DO NOTHING RETURNING request_id, since, clock_timestamp()`
	return s, err
}

// openApart keeps identities for ever in one table, what moves of open claims
// in a small one, and outcomes in a third. Deleting the open row fences.
func openApart(s said) (_ said, err error) {
	fromMany, err := cut(s.claims, "FROM unnest", "ON CONFLICT")
	if err != nil {
		return s, err
	}
	fromOne, err := cut(s.claim, "FROM (SELECT", "ON CONFLICT")
	if err != nil {
		return s, err
	}
	const (
		identity = `request_id, scope, action, key, fingerprint_version, fingerprint_key, fingerprint, policy, horizon_ns, refusals, max_attempts,
			run_after_never_will, created_at, result_retention_ns, identity_retention_ns, input`
		open = `request_id, created_at, keyed_at, claimed_at, since, attempt, state, lease_until, owner, process`
		kept = `request_id, keyed_at, claimed_at, attempt, generation, unknown_attempt, waived, process, owner`
	)
	s.claims = `WITH i AS (INSERT INTO onceguard_claim (` + identity + `)
			SELECT u.id, u.scope, u.action, u.key, u.version, u.print_key, u.print, u.policy, u.horizon, u.refusals, u.attempts,
				u.run_after, n.t, u.keep_result, u.keep_identity, u.input
			FROM unnest` + fromMany + ` ON CONFLICT (request_id) DO NOTHING RETURNING request_id, created_at AS t)
		INSERT INTO onceguard_open (` + open + `)
		SELECT i.request_id, i.t, i.t, i.t, i.t, 1, 1, i.t + v.lease * interval '1 microsecond', v.owner, v.process
		FROM i JOIN unnest($1::bytea[], $12::bytea[], $13::text[], $15::bigint[]) AS v (id, owner, process, lease) ON v.id = i.request_id
		RETURNING request_id, created_at, clock_timestamp()`
	s.claim = `WITH i AS (INSERT INTO onceguard_claim (` + identity + `)
			SELECT $1::bytea, $2::text, $3::text, $4::text, $5::smallint, $6::text, $7::bytea, $8::smallint, $9::bigint, $10::smallint, $11::integer,
				$14::boolean, n.t, $16::bigint, $17::bigint, $18::bytea
			FROM (SELECT` + fromOne + ` ON CONFLICT (request_id) DO NOTHING RETURNING request_id, created_at AS t)
		INSERT INTO onceguard_open (` + open + `)
		SELECT i.request_id, i.t, i.t, i.t, i.t, 1, 1, i.t + $15::bigint * interval '1 microsecond', $12::bytea, $13::text FROM i
		RETURNING created_at, clock_timestamp()`
	s.settles = `WITH d AS (DELETE FROM onceguard_open x USING ` + outcomeArrays + ` WHERE ` + mineMany + ` RETURNING x.*, u.to_state, u.by, u.why, u.body, u.type, u.digest, u.gap)
		INSERT INTO onceguard_outcome (` + kept + `, state, since, settled_by, reason, result, result_type, result_digest, result_missing)
		SELECT ` + kept + `, to_state, clock_timestamp(), by, why, body, type, digest, gap FROM d RETURNING request_id, since, clock_timestamp()`
	s.settle = `WITH d AS (DELETE FROM onceguard_open WHERE ` + mineOne + ` RETURNING *)
		INSERT INTO onceguard_outcome (` + kept + `, state, since, settled_by, reason, result, result_type, result_digest, result_missing)
		SELECT ` + kept + `, $4::smallint, ` + outcomeOne + ` FROM d RETURNING request_id, since, clock_timestamp()`
	s.get = `SELECT $CLAIM, x.*, o.* FROM onceguard_claim c LEFT JOIN onceguard_open x ON x.request_id = c.request_id
		LEFT JOIN onceguard_outcome o ON o.request_id = c.request_id WHERE c.request_id = ANY ($1::bytea[])`
	s.list = listOf(s.get, "c.")
	s.sweep = sweepOf(`(SELECT x.*, c.policy, c.max_attempts, c.horizon_ns FROM onceguard_open x JOIN onceguard_claim c ON c.request_id = x.request_id) y`)
	return s, nil
}
