-- +goose Up

-- Whether a tenant wants content kept, and its key, wrapped by a master key. Times are
-- microseconds since 1970; 0 means none.
CREATE TABLE edge_audit_content_tenants (
    tenant      TEXT    NOT NULL PRIMARY KEY,
    enabled     INTEGER NOT NULL,
    key_id      TEXT    NOT NULL, -- empty: it has none, or it was destroyed
    master      TEXT    NOT NULL, -- the master key's name
    wrapped     TEXT    NOT NULL,
    update_time BIGINT  NOT NULL,
    erase_time  BIGINT  NOT NULL,
    revision    BIGINT  NOT NULL
);
CREATE INDEX edge_audit_content_tenants_changes ON edge_audit_content_tenants (revision);

-- The keys of persons, wrapped by their tenant's. One that was destroyed stays as
-- a row, without the key.
CREATE TABLE edge_audit_content_keys (
    id          TEXT   NOT NULL PRIMARY KEY,
    tenant      TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    tenant_key  TEXT   NOT NULL,
    wrapped     TEXT   NOT NULL,
    create_time BIGINT NOT NULL,
    erase_time  BIGINT NOT NULL,
    revision    BIGINT NOT NULL
);
CREATE UNIQUE INDEX edge_audit_content_keys_person ON edge_audit_content_keys (tenant, subject) WHERE erase_time = 0;
CREATE INDEX edge_audit_content_keys_erased ON edge_audit_content_keys (tenant, subject, erase_time);
CREATE INDEX edge_audit_content_keys_changes ON edge_audit_content_keys (revision);

CREATE TABLE edge_audit_content_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_audit_content_revision (one, revision) VALUES (1, 0);

-- The contents, encrypted. The record has the hash of what is in sealed.
CREATE TABLE edge_audit_contents (
    record  TEXT   NOT NULL PRIMARY KEY,
    tenant  TEXT   NOT NULL,
    subject TEXT   NOT NULL,
    key_id  TEXT   NOT NULL,
    time_us BIGINT NOT NULL,
    sealed  BYTEA  NOT NULL
);
CREATE INDEX edge_audit_contents_key ON edge_audit_contents (key_id);
CREATE INDEX edge_audit_contents_time ON edge_audit_contents (time_us);

ALTER TABLE edge_audit ADD COLUMN content_missing INTEGER NOT NULL DEFAULT 0;
CREATE INDEX edge_audit_id ON edge_audit (id);

-- +goose Down
-- What was kept ends: without the keys nobody can read it.
DROP INDEX edge_audit_id;
ALTER TABLE edge_audit DROP COLUMN content_missing;
DROP TABLE edge_audit_contents;
DROP TABLE edge_audit_content_revision;
DROP TABLE edge_audit_content_keys;
DROP TABLE edge_audit_content_tenants;
