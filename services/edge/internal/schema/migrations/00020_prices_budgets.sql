-- +goose Up
-- Times are microseconds since 1970; 0 means none. Money is in millionths of the
-- currency's unit.

-- What models cost. Rows are added and never changed; a price to come may be taken back.
CREATE TABLE edge_prices (
    revision    BIGINT  NOT NULL PRIMARY KEY,
    target      TEXT    NOT NULL, -- the four that follow, in one
    model       TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    digest      TEXT    NOT NULL,
    variant     TEXT    NOT NULL,
    rates       TEXT    NOT NULL, -- a JSON object: for a million of each class
    currency    TEXT    NOT NULL,
    valid_from  BIGINT  NOT NULL,
    removed     INTEGER NOT NULL,
    create_time BIGINT  NOT NULL,
    creator     TEXT    NOT NULL,
    UNIQUE (target, valid_from)
);

-- What a tenant, a team or a key may use in a period.
CREATE TABLE edge_budgets (
    uid         BIGINT  NOT NULL PRIMARY KEY, -- the revision that made it
    tenant      TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    scope       TEXT    NOT NULL, -- tenant, team or key
    scope_name  TEXT    NOT NULL,
    period      TEXT    NOT NULL, -- day, month or total
    unit        TEXT    NOT NULL, -- money or tokens
    amount      BIGINT  NOT NULL,
    warnings    TEXT    NOT NULL, -- a JSON array: per cent
    hard        INTEGER NOT NULL,
    platform    INTEGER NOT NULL, -- whether only the platform's administrators change it
    create_time BIGINT  NOT NULL,
    update_time BIGINT  NOT NULL,
    updater     TEXT    NOT NULL,
    UNIQUE (tenant, id)
);

-- The number of the last change to any price or budget. Every change locks this row
-- first.
CREATE TABLE edge_usage_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_usage_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_usage_revision;
DROP TABLE edge_budgets;
DROP TABLE edge_prices;
