-- +goose Up

-- A migration that cannot get its locks gives up instead of queueing every
-- claim behind it.
SET LOCAL lock_timeout = '10s';

-- One row per request ID. The rules are in Go (rule_*.go of the root package).
--
-- There are no CHECKs here: the server reads and compiles each of them again for
-- every statement that writes, and those that repeated the rules (what each
-- state allows to be NULL, lengths of digests) were 200 of 500 us of its time
-- for a claim and its outcome.
--
-- states: 1 claimed, 2 released, 3 uncertain, 4 succeeded, 5 failed.
-- Durations are nanoseconds; a retention of -1 means for ever.
CREATE TABLE onceguard_receipt (
    -- Wide columns first and those of no fixed width last: no bytes are lost to
    -- alignment, and the server finds a column without reading those before it.
    created_at            timestamptz NOT NULL,
    since                 timestamptz NOT NULL,
    attempt               bigint      NOT NULL,
    horizon_ns            bigint      NOT NULL,
    result_retention_ns   bigint      NOT NULL,
    identity_retention_ns bigint      NOT NULL,
    max_attempts          integer     NOT NULL, -- 0: the default
    generation            integer     NOT NULL DEFAULT 0,
    state                 smallint    NOT NULL,
    policy                smallint    NOT NULL, -- 0 at-most-once, 1 safe-retry, 2 rerun, 3 transactional
    refusals              smallint    NOT NULL, -- 1 remembered, 2 forgotten
    result_missing        smallint    NOT NULL DEFAULT 0,
    fingerprint_version   smallint    NOT NULL, -- 0: imported without its input
    unknown_attempt       boolean     NOT NULL DEFAULT false,
    waived                boolean     NOT NULL DEFAULT false,
    run_after_never_will  boolean     NOT NULL,
    pruned                boolean     NOT NULL DEFAULT false,
    request_id            bytea       NOT NULL,
    scope                 text        NOT NULL,
    action                text        NOT NULL,
    key                   text        NOT NULL,
    fingerprint_key       text        NOT NULL,
    fingerprint           bytea       NOT NULL,
    process               text        NOT NULL,
    settled_by            text        NOT NULL DEFAULT '',
    reason                text        NOT NULL DEFAULT '',
    result_type           text        NOT NULL DEFAULT '',
    owner                 bytea,                -- SHA-256 of the owner token
    keyed_at              timestamptz,
    claimed_at            timestamptz,
    lease_until           timestamptz,
    result_digest         bytea,
    -- bytea, not jsonb: byte-identical on replay and about a fifth faster.
    -- Compression stays on (EXTENDED): it saves WAL and disk for JSON at no
    -- measurable cost, and bodies that do not compress are stored as they are.
    result                bytea,
    input                 bytea,

    CONSTRAINT onceguard_receipt_pkey PRIMARY KEY (request_id)
);
-- No fillfactor: an outcome is a new version three times as large as what it
-- would leave free, and the index of open rows keeps it from being HOT anyway.
-- Renewals find room where the claims beside them were settled.

-- Claimed and uncertain rows: few, and what the sweeper and people look for.
-- No index holds the lease or the state itself, or every renewal would touch it.
-- Nor the request ID, which breaks ties: sorting those is cheaper than 33 more
-- bytes in each entry, and while the tables are small the planner would walk
-- the whole of such an index for one ID.
CREATE INDEX onceguard_receipt_open ON onceguard_receipt (created_at) WHERE state IN (1, 3);

-- Listing (newest first) and pruning (oldest first).
CREATE INDEX onceguard_receipt_created ON onceguard_receipt (created_at);

-- Append-only notes about a request. Equal evidence is kept once: the digest
-- is the SHA-256 of the body and outlives it.
CREATE TABLE onceguard_evidence (
    request_id bytea       NOT NULL CHECK (octet_length(request_id) = 32),
    seq        integer     NOT NULL CHECK (seq BETWEEN 1 AND 1000),
    kind       text        NOT NULL,
    attempt    bigint      NOT NULL,
    at         timestamptz NOT NULL,
    by         text        NOT NULL,
    detail     text        NOT NULL,
    body       bytea       CHECK (octet_length(body) <= 65536),
    digest     bytea       NOT NULL CHECK (octet_length(digest) = 32),
    CONSTRAINT onceguard_evidence_pkey PRIMARY KEY (request_id, seq),
    CONSTRAINT onceguard_evidence_once UNIQUE (request_id, kind, attempt, digest)
);

-- Fingerprint keys, the downstream secret: values that the guard made once.
CREATE TABLE onceguard_secret (
    name       text        NOT NULL CONSTRAINT onceguard_secret_pkey PRIMARY KEY,
    value      bytea       NOT NULL,
    wrapped    boolean     NOT NULL,
    created_at timestamptz NOT NULL
);

-- Which store this is: exactly one row.
CREATE TABLE onceguard_store (
    id          smallint    NOT NULL CONSTRAINT onceguard_store_pkey PRIMARY KEY CHECK (id = 1),
    store_id    text        NOT NULL, -- random, travels with backups
    epoch       text        NOT NULL, -- the epoch that claims are granted in; '' until first opened
    restores    integer     NOT NULL DEFAULT 0 CHECK (restores >= 0),
    synchronous boolean     NOT NULL DEFAULT false, -- commits of this epoch wait for a standby, as verified
    min_version integer     NOT NULL, -- programs that know only older schemas refuse to read and write
    created_at  timestamptz NOT NULL
);
INSERT INTO onceguard_store (id, store_id, epoch, min_version, created_at)
VALUES (1, gen_random_uuid()::text, '', 1, clock_timestamp());
