package pgstore

import "strings"

// columns is the order in which rows are read and written (row.go).
const columns = `request_id, scope, action, key, fingerprint_version, fingerprint_key, fingerprint,
	policy, horizon_ns, refusals, max_attempts, state, attempt, owner, process, generation,
	unknown_attempt, waived, run_after_never_will, created_at, keyed_at, claimed_at, lease_until, since,
	settled_by, reason, result, result_type, result_digest, result_missing,
	result_retention_ns, identity_retention_ns, input, pruned`

// columnsNoBody reads a row whose result the caller already has.
var columnsNoBody = strings.Replace(columns, "reason, result,", "reason, NULL::bytea,", 1)

// columnsBare reads a row without result and input.
var columnsBare = strings.Replace(columnsNoBody, " input, ", " NULL::bytea, ", 1)

// live is the epoch that the server is in now. $SYS is the system identifier
// where the connection pins the server; behind a pooler it is empty, and the
// server that runs the statement is asked.
const live = `((CASE WHEN $SYS::text <> '' THEN $SYS::text ELSE (SELECT system_identifier::text FROM pg_control_system()) END)
	|| '/' || ltrim(substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8), '0')
	|| CASE WHEN restores = 0 THEN '' ELSE '/' || restores END)`

// liveNone stands for live where the server has no timeline.
const liveNone = `(CASE WHEN $SYS::text = '' THEN 'no-epoch' ELSE $SYS::text END
	|| CASE WHEN restores = 0 THEN '' ELSE '/' || restores END)`

// statements are the SQL of a store: rows by primary key, singly or as many as
// an array names. A plan that is made while the tables are small stays in use
// while they grow; the sessions' settings (connect.go) leave it no choice but
// the index, and plan_test.go looks.
type statements struct {
	insertFirst, insertMany                              statement
	settleMany, renew, now, getMany                      statement
	settle                                               string
	lock, lockFree, clock                                string
	insertRow, updateRow, deleteRow                      string
	insertEvidence, dropEvidenceBodies, dropEvidence     string
	acknowledge, firstEpoch, synchronous, notSynchronous string
}

func newStatements(noEpoch bool) statements {
	epoch := live
	if noEpoch {
		epoch = liveNone
	}
	at := func(sql, param string) string {
		return strings.ReplaceAll(strings.ReplaceAll(sql, "$LIVE", epoch), "$SYS", param)
	}
	return planted(statements{
		// T1. The conditions are part of the insert: whether this server's
		// epoch is acknowledged (where an effect must not start twice), whether this program still
		// knows the schema, whether the key is older than the memory. On a
		// conflict nothing is written, not even a transaction number.
		insertFirst: statement{"onceguard_claim", at(`INSERT INTO onceguard_receipt (request_id, scope, action, key, fingerprint_version, fingerprint_key, fingerprint,
				policy, horizon_ns, refusals, max_attempts, state, attempt, owner, process, run_after_never_will,
				created_at, keyed_at, claimed_at, lease_until, since, result_retention_ns, identity_retention_ns, input)
			SELECT $1::bytea, $2::text, $3::text, $4::text, $5::smallint, $6::text, $7::bytea,
				$8::smallint, $9::bigint, $10::smallint, $11::integer, 1, 1, $12::bytea, $13::text, $14::boolean,
				n.t, n.t, n.t, n.t + $15::bigint * interval '1 microsecond', n.t, $16::bigint, $17::bigint, $18::bytea
			FROM (SELECT clock_timestamp() AS t) AS n
			WHERE ($19::timestamptz IS NULL OR n.t <= $19::timestamptz)
				AND EXISTS (SELECT FROM onceguard_store WHERE id = 1 AND min_version <= $20::integer AND (NOT $21::boolean OR epoch = $LIVE))
			ON CONFLICT (request_id) DO NOTHING
			RETURNING created_at, clock_timestamp()`, "$22")},
		// T1 for a batch, one array for each column. The conditions on the store
		// are computed once, the time for each row.
		insertMany: statement{"onceguard_claims", at(`INSERT INTO onceguard_receipt (request_id, scope, action, key, fingerprint_version, fingerprint_key, fingerprint,
				policy, horizon_ns, refusals, max_attempts, state, attempt, owner, process, run_after_never_will,
				created_at, keyed_at, claimed_at, lease_until, since, result_retention_ns, identity_retention_ns, input)
			SELECT u.id, u.scope, u.action, u.key, u.version, u.print_key, u.print,
				u.policy, u.horizon, u.refusals, u.attempts, 1, 1, u.owner, u.process, u.run_after,
				n.t, n.t, n.t, n.t + u.lease * interval '1 microsecond', n.t, u.keep_result, u.keep_identity, u.input
			FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::text[], $7::bytea[],
					$8::smallint[], $9::bigint[], $10::smallint[], $11::integer[], $12::bytea[], $13::text[], $14::boolean[],
					$15::bigint[], $16::bigint[], $17::bigint[], $18::bytea[], $19::timestamptz[], $21::boolean[])
				AS u (id, scope, action, key, version, print_key, print, policy, horizon, refusals, attempts, owner, process, run_after,
					lease, keep_result, keep_identity, input, latest, freezes),
				LATERAL (SELECT clock_timestamp() AS t) AS n
			WHERE (u.latest IS NULL OR n.t <= u.latest)
				AND (SELECT min_version <= $20::integer FROM onceguard_store WHERE id = 1)
				AND (NOT u.freezes OR (SELECT epoch = $LIVE FROM onceguard_store WHERE id = 1))
			ON CONFLICT (request_id) DO NOTHING
			RETURNING request_id, created_at, clock_timestamp()`, "$22")},
		// T7, and T8 where no attempt is unknown: the cases that do not depend
		// on the rest of the row.
		settle: `UPDATE onceguard_receipt SET state = $4::smallint, since = clock_timestamp(), lease_until = NULL, settled_by = $5::text,
				reason = $6::text, result = $7::bytea, result_type = $8::text, result_digest = $9::bytea, result_missing = $10::smallint
			WHERE request_id = $1::bytea AND attempt = $2::bigint AND owner = $3::bytea AND state IN (1, 3)
				AND ($4::smallint = 4 OR NOT unknown_attempt)
			RETURNING ` + columnsNoBody + `, clock_timestamp()`,
		// The same for a batch, in the order of the arrays. An equality would let
		// the planner walk the whole index instead, and it did while the table was
		// small; two comparisons can only be looked up, element by element.
		// "state + 0" keeps the index of open rows out.
		settleMany: statement{"onceguard_settles", `UPDATE onceguard_receipt SET state = u.to_state, since = clock_timestamp(), lease_until = NULL, settled_by = u.by,
				reason = u.why, result = u.body, result_type = u.type, result_digest = u.digest, result_missing = u.gap
			FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::smallint[], $5::text[], $6::text[], $7::bytea[], $8::text[], $9::bytea[], $10::smallint[])
				AS u (id, tried, mine, to_state, by, why, body, type, digest, gap)
			WHERE request_id >= u.id AND request_id <= u.id AND attempt = u.tried AND owner = u.mine AND state + 0 IN (1, 3)
				AND (u.to_state = 4 OR NOT unknown_attempt)
			RETURNING ` + columnsNoBody + `, clock_timestamp()`},
		// T6. A lease never gets shorter.
		renew: statement{"onceguard_renew", `UPDATE onceguard_receipt SET lease_until = greatest(lease_until, clock_timestamp() + $4::bigint * interval '1 microsecond')
			WHERE request_id = $1::bytea AND attempt = $2::bigint AND owner = $3::bytea AND state = 1
			RETURNING ` + columnsNoBody + `, clock_timestamp()`},

		lock:     `SELECT ` + columns + ` FROM onceguard_receipt WHERE request_id = $1::bytea FOR UPDATE`,
		lockFree: `SELECT ` + columns + ` FROM onceguard_receipt WHERE request_id = $1::bytea FOR UPDATE SKIP LOCKED`,
		// Read after the lock: now() is the start of the transaction, and a
		// lease counted from there may be over before it is written.
		clock: at(`SELECT clock_timestamp(), epoch, $LIVE, min_version, synchronous FROM onceguard_store WHERE id = 1`, "$1"),

		now:     statement{"onceguard_now", `SELECT clock_timestamp(), min_version FROM onceguard_store WHERE id = 1`},
		getMany: statement{"onceguard_get", `SELECT ` + columns + ` FROM onceguard_receipt WHERE request_id = ANY ($1::bytea[])`},

		insertRow: `INSERT INTO onceguard_receipt (` + columns + `) VALUES (` + placeholders(columnCount) + `) ON CONFLICT (request_id) DO NOTHING`,
		updateRow: `UPDATE onceguard_receipt SET (` + columns + `) = ROW (` + placeholders(columnCount) + `) WHERE request_id = $1`,
		deleteRow: `DELETE FROM onceguard_receipt WHERE request_id = $1::bytea`,

		insertEvidence: `INSERT INTO onceguard_evidence (request_id, seq, kind, attempt, at, by, detail, body, digest)
			SELECT $1::bytea, coalesce(max(seq), 0) + 1, $2::text, $3::bigint, clock_timestamp(), $4::text, $5::text, $6::bytea, $7::bytea
			FROM onceguard_evidence WHERE request_id = $1::bytea HAVING coalesce(max(seq), 0) < $8::integer
			ON CONFLICT (request_id, kind, attempt, digest) DO NOTHING`,
		dropEvidenceBodies: `UPDATE onceguard_evidence SET body = NULL WHERE request_id = $1::bytea AND body IS NOT NULL`,
		dropEvidence:       `DELETE FROM onceguard_evidence WHERE request_id = $1::bytea`,

		acknowledge:    at(`UPDATE onceguard_store SET epoch = $1::text, synchronous = $2::boolean WHERE id = 1 AND epoch <> $1::text AND $LIVE = $1::text`, "$3"),
		firstEpoch:     at(`UPDATE onceguard_store SET epoch = $LIVE WHERE id = 1 AND epoch = '' RETURNING epoch`, "$1"),
		synchronous:    at(`UPDATE onceguard_store SET synchronous = true WHERE id = 1 AND NOT synchronous AND epoch = $LIVE`, "$1"),
		notSynchronous: at(`UPDATE onceguard_store SET synchronous = false WHERE id = 1 AND synchronous AND epoch = $LIVE`, "$1"),
	})
}
