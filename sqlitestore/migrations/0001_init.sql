-- +goose Up
-- Times are microseconds since 1970 by the store's clock; durations are
-- nanoseconds, and -1 as a retention means "never dropped". The CHECKs repeat
-- the row shapes that the transition table T1 to T15 can produce, so that no
-- other program, and no bug of ours, leaves a row that means something else.

-- One row per request ID. A rowid table and not WITHOUT ROWID: a result of up
-- to a megabyte lives in the row, and a b-tree ordered by a random 32-byte key
-- would carry those rows in its inner pages. Here the table is appended to, the
-- unique index stays small, and columns before the result are read without it.
CREATE TABLE onceguard_receipt (
    request_id            BLOB    NOT NULL CHECK (length(request_id) = 32),
    scope                 TEXT    NOT NULL CHECK (length(CAST(scope AS BLOB)) BETWEEN 1 AND 256),
    action                TEXT    NOT NULL CHECK (length(action) BETWEEN 1 AND 128),
    key                   TEXT    NOT NULL CHECK (length(CAST(key AS BLOB)) BETWEEN 1 AND 512),
    fingerprint_version   INTEGER NOT NULL CHECK (fingerprint_version BETWEEN 0 AND 255), -- 0: imported without input
    fingerprint_key       TEXT    NOT NULL CHECK (length(fingerprint_key) <= 64),
    fingerprint_sum       BLOB    NOT NULL CHECK (length(fingerprint_sum) = 32),
    policy                INTEGER NOT NULL CHECK (policy BETWEEN 0 AND 3),    -- at-most-once, safe-retry, rerun, transactional
    horizon               INTEGER NOT NULL CHECK (horizon >= 0),
    refusals              INTEGER NOT NULL CHECK (refusals BETWEEN 0 AND 2),
    max_attempts          INTEGER NOT NULL CHECK (max_attempts >= 0),
    state                 INTEGER NOT NULL CHECK (state BETWEEN 1 AND 5),     -- claimed, released, uncertain, succeeded, failed
    attempt               INTEGER NOT NULL CHECK (attempt >= 0),
    owner                 BLOB    NOT NULL CHECK (length(owner) = 32),        -- SHA-256 of the owner token
    process               TEXT    NOT NULL,
    generation            INTEGER NOT NULL CHECK (generation >= 0),
    unknown_attempt       INTEGER NOT NULL CHECK (unknown_attempt IN (0, 1)),
    waived                INTEGER NOT NULL CHECK (waived IN (0, 1)),
    run_after_never_will  INTEGER NOT NULL CHECK (run_after_never_will IN (0, 1)),
    created_at            INTEGER NOT NULL,
    keyed_at              INTEGER,
    claimed_at            INTEGER,
    lease_until           INTEGER,
    since                 INTEGER NOT NULL,
    settled_by            TEXT    NOT NULL,
    reason                TEXT    NOT NULL,
    result_type           TEXT    NOT NULL,
    result_digest         BLOB    NOT NULL CHECK (length(result_digest) = 32),
    result_gap            INTEGER NOT NULL CHECK (result_gap BETWEEN 0 AND 5),
    result_retention      INTEGER NOT NULL CHECK (result_retention >= -1),
    identity_retention    INTEGER NOT NULL CHECK (identity_retention >= -1),
    pruned                INTEGER NOT NULL CHECK (pruned IN (0, 1)),
    input                 BLOB,
    result_body           BLOB,

    -- A claim, and nothing else, has a lease. It has an owner, and nobody
    -- settled it, unless a person ordered this run.
    CONSTRAINT claimed_shape CHECK (
        (state = 1) = (lease_until IS NOT NULL)
        AND (state <> 1 OR (owner <> zeroblob(32) AND claimed_at IS NOT NULL AND keyed_at IS NOT NULL
            AND (settled_by = '' OR waived = 1)))
    ),
    -- Whatever was claimed has an attempt; only imported work has none.
    CONSTRAINT attempt_shape CHECK (attempt >= 1 OR state IN (4, 5)),
    -- A final row says who settled it. Any other row has no result.
    CONSTRAINT final_shape CHECK (
        CASE WHEN state IN (4, 5) THEN settled_by <> ''
             ELSE result_body IS NULL AND result_gap = 0 AND result_type = '' AND result_digest = zeroblob(32) END
    ),
    -- No body where a reason for its absence is given; a tombstone has neither
    -- body nor input, and was final.
    CONSTRAINT body_shape CHECK (result_gap = 0 OR result_body IS NULL),
    CONSTRAINT tombstone_shape CHECK (pruned = 0 OR (state IN (4, 5) AND result_gap <> 0 AND input IS NULL)),
    -- A horizon belongs to safe-retry, and safe-retry cannot do without.
    CONSTRAINT policy_shape CHECK ((policy = 1) = (horizon > 0) AND (policy = 1) = (refusals > 0))
) STRICT;

CREATE UNIQUE INDEX onceguard_receipt_id ON onceguard_receipt (request_id);
-- Open rows are few. The lease is not in the index, so renewals do not touch it.
CREATE INDEX onceguard_receipt_open ON onceguard_receipt (state) WHERE state IN (1, 3);
-- The order of lists, pruning and archives: newest first.
CREATE INDEX onceguard_receipt_created ON onceguard_receipt (created_at DESC, request_id);

-- Append-only. Equal evidence is kept once; the digest outlives the body, so
-- that a piece sent again after a prune is still found equal. The zero request
-- ID stands for the store itself: its epochs and who acknowledged them.
CREATE TABLE onceguard_evidence (
    seq         INTEGER PRIMARY KEY,
    request_id  BLOB    NOT NULL CHECK (length(request_id) = 32),
    kind        TEXT    NOT NULL CHECK (length(kind) BETWEEN 1 AND 64),
    attempt     INTEGER NOT NULL CHECK (attempt >= 0),
    at          INTEGER NOT NULL,
    author      TEXT    NOT NULL,
    detail      TEXT    NOT NULL,
    body_digest BLOB    NOT NULL CHECK (length(body_digest) = 32),
    body        BLOB    CHECK (length(body) <= 65536),
    CONSTRAINT once UNIQUE (request_id, kind, attempt, body_digest)
) STRICT;

CREATE TABLE onceguard_secret (
    name       TEXT    NOT NULL PRIMARY KEY CHECK (name <> ''),
    value      BLOB    NOT NULL CHECK (length(value) > 0),
    wrapped    INTEGER NOT NULL CHECK (wrapped IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

-- One row: who this store is. min_version is the oldest schema version whose
-- binaries may still write here; a migration that they would not understand
-- raises it. file is the inode that this database was seen at: another one
-- means that this is a copy, and -1 that it is a backup.
CREATE TABLE onceguard_store (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    store_id    TEXT    NOT NULL CHECK (store_id <> ''),
    epoch       TEXT    NOT NULL CHECK (epoch <> ''),
    frozen_why  TEXT    NOT NULL,                       -- empty: not frozen
    min_version INTEGER NOT NULL CHECK (min_version >= 1),
    file        INTEGER NOT NULL,                       -- 0: not known yet
    created_at  INTEGER NOT NULL
) STRICT;

INSERT INTO onceguard_store VALUES (1, lower(hex(randomblob(16))), lower(hex(randomblob(8))), '', 1, 0,
    CAST(unixepoch('subsec') * 1000000 AS INTEGER));
