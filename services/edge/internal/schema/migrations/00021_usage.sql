-- +goose Up
-- Times are microseconds since 1970; 0 means none. Money is in millionths of the
-- currency's unit.

-- What requests used. Rows are added and never changed.
CREATE TABLE edge_usage (
    id              TEXT    NOT NULL PRIMARY KEY,
    time_us         BIGINT  NOT NULL, -- when the request came
    request_id      TEXT    NOT NULL,
    tenant          TEXT    NOT NULL,
    key_id          TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    kind            TEXT    NOT NULL, -- generate, embed or rerank
    model           TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    variant         TEXT    NOT NULL,
    experiment      TEXT    NOT NULL,
    arm             TEXT    NOT NULL,
    outcome         TEXT    NOT NULL, -- whole, partial or recovered
    estimated       INTEGER NOT NULL, -- whether the engine told no counts
    input           BIGINT  NOT NULL, -- tokens of the prompt, those from the cache included
    cached          BIGINT  NOT NULL,
    output          BIGINT  NOT NULL,
    cost            BIGINT  NOT NULL,
    price           BIGINT  NOT NULL  -- the price's revision; 0: none
);
CREATE INDEX edge_usage_time ON edge_usage (time_us);
CREATE INDEX edge_usage_request ON edge_usage (request_id);

-- What of it counted against which budget.
CREATE TABLE edge_usage_charges (
    entry  TEXT   NOT NULL,
    budget BIGINT NOT NULL,
    period BIGINT NOT NULL, -- when it began
    amount BIGINT NOT NULL,
    PRIMARY KEY (entry, budget)
);
CREATE INDEX edge_usage_charges_budget ON edge_usage_charges (budget, period);

-- The sums by hour and by day (UTC), written with the rows that they are of.
CREATE TABLE edge_usage_hours (
    start_us   BIGINT  NOT NULL,
    tenant     TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    variant    TEXT    NOT NULL,
    experiment TEXT    NOT NULL,
    arm        TEXT    NOT NULL,
    requests   BIGINT  NOT NULL,
    partial    BIGINT  NOT NULL,
    unpriced   BIGINT  NOT NULL,
    input      BIGINT  NOT NULL,
    cached     BIGINT  NOT NULL,
    output     BIGINT  NOT NULL,
    cost       BIGINT  NOT NULL,
    PRIMARY KEY (start_us, tenant, key_id, subject, kind, model, version, variant, experiment, arm)
);
CREATE TABLE edge_usage_days (
    start_us   BIGINT  NOT NULL,
    tenant     TEXT    NOT NULL,
    key_id     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    variant    TEXT    NOT NULL,
    experiment TEXT    NOT NULL,
    arm        TEXT    NOT NULL,
    requests   BIGINT  NOT NULL,
    partial    BIGINT  NOT NULL,
    unpriced   BIGINT  NOT NULL,
    input      BIGINT  NOT NULL,
    cached     BIGINT  NOT NULL,
    output     BIGINT  NOT NULL,
    cost       BIGINT  NOT NULL,
    PRIMARY KEY (start_us, tenant, key_id, subject, kind, model, version, variant, experiment, arm)
);

-- What of a budget is used up in a period, and what each edge holds of it. What an
-- edge that is gone held is free again when it expires.
CREATE TABLE edge_budget_counters (
    budget  BIGINT NOT NULL,
    period  BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    PRIMARY KEY (budget, period)
);
CREATE TABLE edge_budget_leases (
    budget      BIGINT NOT NULL,
    period      BIGINT NOT NULL,
    holder      TEXT   NOT NULL,
    held        BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    PRIMARY KEY (budget, period, holder)
);
CREATE INDEX edge_budget_leases_holder ON edge_budget_leases (holder);

-- Requests that must not be made twice.
CREATE TABLE edge_usage_claims (
    claim       TEXT    NOT NULL PRIMARY KEY, -- of the caller and their key, hashed
    entry       TEXT    NOT NULL,
    done        INTEGER NOT NULL, -- whether it was answered
    expire_time BIGINT  NOT NULL
);
CREATE INDEX edge_usage_claims_entry ON edge_usage_claims (entry);
CREATE INDEX edge_usage_claims_expiry ON edge_usage_claims (expire_time);

-- Whoever writes to any of these tables locks this row first.
CREATE TABLE edge_usage_turn (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    n   BIGINT  NOT NULL
);
INSERT INTO edge_usage_turn (one, n) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_usage_turn;
DROP TABLE edge_usage_claims;
DROP TABLE edge_budget_leases;
DROP TABLE edge_budget_counters;
DROP TABLE edge_usage_days;
DROP TABLE edge_usage_hours;
DROP TABLE edge_usage_charges;
DROP TABLE edge_usage;
