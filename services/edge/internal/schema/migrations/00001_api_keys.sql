-- +goose Up
-- Times are microseconds since 1970; 0 means none.
CREATE TABLE edge_api_keys (
    id                  TEXT    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL,
    tenant              TEXT    NOT NULL,
    subject             TEXT    NOT NULL,
    roles               TEXT    NOT NULL, -- a JSON array
    member_of           TEXT    NOT NULL, -- a JSON array: the groups
    hash                TEXT    NOT NULL, -- hexadecimal
    create_time         BIGINT  NOT NULL,
    expire_time         BIGINT  NOT NULL,
    revoke_time         BIGINT  NOT NULL,
    requests_per_minute INTEGER NOT NULL,
    revision            BIGINT  NOT NULL  -- of the last change
);
CREATE INDEX edge_api_keys_changes ON edge_api_keys (revision);
CREATE INDEX edge_api_keys_tenant ON edge_api_keys (tenant, id);

-- The number of the last change to any key. Every change locks this row first,
-- so that changes are committed in the order of their revisions and whoever
-- reads on from a revision misses none.
CREATE TABLE edge_api_keys_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_api_keys_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_api_keys_revision;
DROP TABLE edge_api_keys;
