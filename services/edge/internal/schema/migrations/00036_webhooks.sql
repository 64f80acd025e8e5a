-- +goose Up
-- Times are microseconds since 1970.

-- Who is told of a tenant's events.
CREATE TABLE edge_webhooks (
    tenant      TEXT    NOT NULL,
    id          TEXT    NOT NULL,
    uid         TEXT    NOT NULL UNIQUE, -- never used again
    url         TEXT    NOT NULL,
    events      TEXT    NOT NULL, -- a JSON array of types; empty: all
    disabled    INTEGER NOT NULL,
    master      TEXT    NOT NULL, -- the master key that wraps the secret
    secret      TEXT    NOT NULL, -- wrapped: package envelope
    create_time BIGINT  NOT NULL,
    update_time BIGINT  NOT NULL,
    updater     TEXT    NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- What happened. The key says what it is, so that it is noted once by all edges.
CREATE TABLE edge_webhook_events (
    id          TEXT    NOT NULL PRIMARY KEY,
    event_key   TEXT    NOT NULL UNIQUE,
    tenant      TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    body        TEXT    NOT NULL, -- JSON, as it is sent
    create_time BIGINT  NOT NULL,
    keep_until  BIGINT  NOT NULL  -- no second event of the key may be until then; 0: for ever
);

-- The outbox: what each webhook is to be told.
CREATE TABLE edge_webhook_deliveries (
    webhook     TEXT    NOT NULL, -- its uid
    event       TEXT    NOT NULL,
    state       TEXT    NOT NULL, -- pending, delivered or dead
    attempts    INTEGER NOT NULL,
    next_time   BIGINT  NOT NULL, -- when a pending one is due; later while an edge tells it
    status      INTEGER NOT NULL, -- of the last answer; 0: none
    problem     TEXT    NOT NULL,
    create_time BIGINT  NOT NULL,
    PRIMARY KEY (webhook, event)
);
CREATE INDEX edge_webhook_due ON edge_webhook_deliveries (state, next_time);

-- +goose Down
DROP TABLE edge_webhook_deliveries;
DROP TABLE edge_webhook_events;
DROP TABLE edge_webhooks;
