package sqlitestore

// Every statement of the hot path, in the order of an operation. All of them
// run inside BEGIN IMMEDIATE, so nothing changes between a read and the write
// that depends on it; the conditions on state and attempt are there all the
// same, so that a bug becomes an error and not a lost receipt. The parameters of
// the hottest have no numbers: the driver asks SQLite for the name of each one.

const columns = `request_id, scope, action, key,
	fingerprint_version, fingerprint_key, fingerprint_sum,
	policy, horizon, refusals, max_attempts,
	state, attempt, owner, process, generation,
	unknown_attempt, waived, run_after_never_will,
	created_at, keyed_at, claimed_at, lease_until, since,
	settled_by, reason, result_type, result_digest, result_gap,
	result_retention, identity_retention, pruned,
	input, result_body`

const selectStore = `SELECT store_id, epoch, frozen_why, min_version, file FROM onceguard_store`

const sameStore = `SELECT 1 FROM onceguard_store
WHERE store_id = ? AND epoch = ? AND frozen_why = ? AND min_version = ? AND file = ?`

const rowExists = `SELECT 1 FROM onceguard_receipt WHERE request_id = ?`

const selectRow = `SELECT ` + columns + ` FROM onceguard_receipt WHERE request_id = ?`

const insertRow = `INSERT INTO onceguard_receipt (` + columns + `)
VALUES (?,?,?,?, ?,?,?, ?,?,?,?, ?,?,?,?,?, ?,?,?, ?,?,?,?,?, ?,?,?,?,?, ?,?,?, ?,?)`

// firstClaim is insertRow for T1: what a first claim does not choose is part of
// the statement. A row that exists already is left alone and counts as nothing
// inserted.
const firstClaim = `INSERT INTO onceguard_receipt (` + columns + `)
VALUES (?,?,?,?, ?,?,?, ?,?,?,?, 1,1,?,?,0, 0,0,?, ?,?,?,?,?, '','','',zeroblob(32),0, ?,?,0, ?,NULL)
ON CONFLICT (request_id) DO NOTHING`

const renewRow = `UPDATE onceguard_receipt SET lease_until = ?
WHERE request_id = ? AND state = 1 AND attempt = ? AND owner = ? AND lease_until = ?`

// settleRow leaves alone what an owner's word on its attempt cannot change.
const settleRow = `UPDATE onceguard_receipt SET state = ?, unknown_attempt = ?, lease_until = ?, since = ?,
	settled_by = ?, reason = ?, result_type = ?, result_digest = ?, result_gap = ?, result_body = ?
WHERE request_id = ? AND state = ? AND attempt = ? AND owner = ? AND unknown_attempt = ? AND settled_by = ? AND reason = ?`

// settleAt is settleRow for one who knows where the row lies. Row IDs change
// when a file is vacuumed; it then changes nothing.
const settleAt = settleRow + ` AND rowid = ?`

// updateRow takes values after its own condition, so their numbers start at 3.
const updateRow = `UPDATE onceguard_receipt SET
	fingerprint_version = ?7, fingerprint_key = ?8, fingerprint_sum = ?9,
	policy = ?10, horizon = ?11, refusals = ?12, max_attempts = ?13,
	state = ?14, attempt = ?15, owner = ?16, process = ?17, generation = ?18,
	unknown_attempt = ?19, waived = ?20, run_after_never_will = ?21,
	keyed_at = ?23, claimed_at = ?24, lease_until = ?25, since = ?26,
	settled_by = ?27, reason = ?28, result_type = ?29, result_digest = ?30, result_gap = ?31,
	result_retention = ?32, identity_retention = ?33, pruned = ?34,
	input = ?35, result_body = ?36
WHERE request_id = ?3 AND state = ?1 AND attempt = ?2`

const deleteRow = `DELETE FROM onceguard_receipt WHERE request_id = ?`

// insertEvidence keeps equal evidence once, and no more than a request may have.
const insertEvidence = `INSERT INTO onceguard_evidence (request_id, kind, attempt, at, author, detail, body_digest, body)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
WHERE (SELECT count(*) FROM onceguard_evidence WHERE request_id = ?1) < ?9
ON CONFLICT (request_id, kind, attempt, body_digest) DO NOTHING`

const selectEvidence = `SELECT kind, attempt, at, author, detail, body FROM onceguard_evidence WHERE request_id = ? ORDER BY seq`

const dropBodies = `UPDATE onceguard_evidence SET body = NULL WHERE request_id = ? AND body IS NOT NULL`

const deleteEvidence = `DELETE FROM onceguard_evidence WHERE request_id = ?`
