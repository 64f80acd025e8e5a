-- +goose Up
-- A change takes its revision from edge_api_keys_revision, as one to a key does.
CREATE TABLE edge_service_accounts (
    tenant       TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    display_name TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    roles        TEXT    NOT NULL, -- JSON arrays
    member_of    TEXT    NOT NULL,
    scopes       TEXT    NOT NULL,
    models       TEXT    NOT NULL,
    collections  TEXT    NOT NULL,
    networks     TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    creator      TEXT    NOT NULL,
    disabled     INTEGER NOT NULL, -- 0 or 1
    create_time  BIGINT  NOT NULL,
    update_time  BIGINT  NOT NULL,
    revision     BIGINT  NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX edge_service_accounts_changes ON edge_service_accounts (revision);

-- +goose Down
-- The keys of accounts would become keys without roles of their own, which
-- nothing is allowed to.
DROP TABLE edge_service_accounts;
