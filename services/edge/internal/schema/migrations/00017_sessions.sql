-- +goose Up
-- Times are microseconds since 1970; 0 means none.
CREATE TABLE edge_sessions (
    id            TEXT   NOT NULL PRIMARY KEY,
    hash          TEXT   NOT NULL UNIQUE, -- of the secret, hexadecimal
    issuer        TEXT   NOT NULL,
    tenant        TEXT   NOT NULL,
    subject       TEXT   NOT NULL,
    roles         TEXT   NOT NULL, -- a JSON array
    member_of     TEXT   NOT NULL, -- a JSON array: the groups
    agent         TEXT   NOT NULL, -- what the browser calls itself
    address       TEXT   NOT NULL, -- where the login came from
    create_time   BIGINT NOT NULL,
    last_use_time BIGINT NOT NULL, -- to the minute or so
    expire_time   BIGINT NOT NULL, -- however much it is used
    end_time      BIGINT NOT NULL,
    revision      BIGINT NOT NULL  -- of the last change
);
CREATE INDEX edge_sessions_changes ON edge_sessions (revision);
CREATE INDEX edge_sessions_subject ON edge_sessions (tenant, subject, id);
CREATE INDEX edge_sessions_expiry ON edge_sessions (expire_time);

-- The number of the last change to any session. Every change locks this row first,
-- as those of keys do.
CREATE TABLE edge_sessions_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_sessions_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_sessions_revision;
DROP TABLE edge_sessions;
