-- +goose Up

-- The whole record. Lists are JSON, or empty; hashes are hexadecimal digits.
ALTER TABLE edge_audit ADD COLUMN policy TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN rule TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN findings TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN review INTEGER NOT NULL DEFAULT 0;
ALTER TABLE edge_audit ADD COLUMN documents TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN cache TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN content_sha256 TEXT NOT NULL DEFAULT '';

-- The record's place in a chain; records from before have none.
ALTER TABLE edge_audit ADD COLUMN chain TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_audit ADD COLUMN previous_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX edge_audit_chain ON edge_audit (chain, sequence) WHERE chain <> '';

-- A chain for each start of an edge. Each registration has the hash of the one
-- before it.
CREATE TABLE edge_audit_chains (
    serial         BIGINT PRIMARY KEY,
    chain          TEXT   NOT NULL UNIQUE,
    time_us        BIGINT NOT NULL, -- microseconds since 1970
    verifier       TEXT   NOT NULL, -- the key that verifies its checkpoints
    records_before BIGINT NOT NULL,
    previous_hash  TEXT   NOT NULL,
    hash           TEXT   NOT NULL,
    ended          INTEGER NOT NULL DEFAULT 0
);

-- Signed checkpoints. One that is pruned is where its chain begins.
CREATE TABLE edge_audit_checkpoints (
    chain  TEXT    NOT NULL,
    size   BIGINT  NOT NULL,
    pruned INTEGER NOT NULL,
    note   TEXT    NOT NULL,
    PRIMARY KEY (chain, size, pruned)
);

CREATE INDEX edge_audit_subject ON edge_audit (subject, time_us, id);
CREATE INDEX edge_audit_method ON edge_audit (method, time_us, id);

-- +goose Down
DROP INDEX edge_audit_method;
DROP INDEX edge_audit_subject;
DROP TABLE edge_audit_checkpoints;
DROP TABLE edge_audit_chains;
DROP INDEX edge_audit_chain;
ALTER TABLE edge_audit DROP COLUMN hash;
ALTER TABLE edge_audit DROP COLUMN previous_hash;
ALTER TABLE edge_audit DROP COLUMN sequence;
ALTER TABLE edge_audit DROP COLUMN chain;
ALTER TABLE edge_audit DROP COLUMN content_sha256;
ALTER TABLE edge_audit DROP COLUMN cache;
ALTER TABLE edge_audit DROP COLUMN documents;
ALTER TABLE edge_audit DROP COLUMN review;
ALTER TABLE edge_audit DROP COLUMN findings;
ALTER TABLE edge_audit DROP COLUMN rule;
ALTER TABLE edge_audit DROP COLUMN policy;
