-- +goose Up
-- The versions of policies, which never change. Times are microseconds since 1970.
CREATE TABLE edge_policy_versions (
    tenant      TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    document    TEXT   NOT NULL, -- JSON
    digest      TEXT   NOT NULL, -- SHA-256 of the document, hexadecimal
    author      TEXT   NOT NULL, -- tenant/subject
    message     TEXT   NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (tenant, version)
);

-- Which version is in force, and which is tried beside it; 0 is none.
CREATE TABLE edge_policies (
    tenant          TEXT    NOT NULL PRIMARY KEY,
    version         BIGINT  NOT NULL,
    dry_run_version BIGINT  NOT NULL,
    dry_run_percent INTEGER NOT NULL,
    etag            BIGINT  NOT NULL, -- the revision that put version into force
    revision        BIGINT  NOT NULL  -- of the last change
);
CREATE INDEX edge_policies_changes ON edge_policies (revision);

-- The number of the last change to edge_policies. Every change locks this row
-- first, so that whoever reads on from a revision misses none.
CREATE TABLE edge_policies_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_policies_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_policies_revision;
DROP TABLE edge_policies;
DROP TABLE edge_policy_versions;
