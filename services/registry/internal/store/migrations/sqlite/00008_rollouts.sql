-- +goose Up

-- Declared plans and how far they have got. state is that of the message, of which
-- those up to 3 are not over: a model has at most one of them.
CREATE TABLE registry_rollouts (
    model       TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    name        TEXT NOT NULL,
    state       INTEGER NOT NULL,
    rollout     BLOB NOT NULL,
    revision    INTEGER NOT NULL,
    create_time INTEGER NOT NULL,
    PRIMARY KEY (model, name)
);

CREATE UNIQUE INDEX registry_rollouts_active ON registry_rollouts (model) WHERE state <= 3;
CREATE INDEX registry_rollouts_newest ON registry_rollouts (model, revision);

-- What happened to them. Rows are never changed.
CREATE TABLE registry_rollout_events (
    model   TEXT NOT NULL,
    rollout TEXT NOT NULL,
    number  INTEGER NOT NULL,
    event   BLOB NOT NULL,
    PRIMARY KEY (model, rollout, number),
    FOREIGN KEY (model, rollout) REFERENCES registry_rollouts (model, name) ON DELETE CASCADE
);

-- Who may act alone. The token grows with every holder, the beat with every sign
-- of life: a row that stays as it is belongs to a holder that is gone.
CREATE TABLE registry_leases (
    name   TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    token  INTEGER NOT NULL,
    beat   INTEGER NOT NULL
);

-- +goose Down

DROP TABLE registry_leases;
DROP TABLE registry_rollout_events;
DROP TABLE registry_rollouts;
