-- +goose Up

-- Declared plans and how far they have got. state is that of the message, of which
-- those up to 3 are not over: a model has at most one of them.
CREATE TABLE registry_rollouts (
    model       TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    name        TEXT COLLATE "C" NOT NULL,
    state       INTEGER NOT NULL,
    rollout     BYTEA NOT NULL,
    revision    BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (model, name)
);

CREATE UNIQUE INDEX registry_rollouts_active ON registry_rollouts (model) WHERE state <= 3;
CREATE INDEX registry_rollouts_newest ON registry_rollouts (model, revision);

-- What happened to them. Rows are never changed.
CREATE TABLE registry_rollout_events (
    model   TEXT COLLATE "C" NOT NULL,
    rollout TEXT COLLATE "C" NOT NULL,
    number  INTEGER NOT NULL,
    event   BYTEA NOT NULL,
    PRIMARY KEY (model, rollout, number),
    FOREIGN KEY (model, rollout) REFERENCES registry_rollouts (model, name) ON DELETE CASCADE
);

-- Who may act alone. The token grows with every holder, the beat with every sign
-- of life: a row that stays as it is belongs to a holder that is gone.
CREATE TABLE registry_leases (
    name   TEXT COLLATE "C" PRIMARY KEY,
    holder TEXT NOT NULL,
    token  BIGINT NOT NULL,
    beat   BIGINT NOT NULL
);

-- +goose Down

DROP TABLE registry_leases;
DROP TABLE registry_rollout_events;
DROP TABLE registry_rollouts;
