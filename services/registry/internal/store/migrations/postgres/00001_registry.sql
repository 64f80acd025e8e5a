-- +goose Up

-- The last revision given, and the last one whose change is no longer kept.
-- Every writer updates this row first: its lock makes revisions commit in order.
CREATE TABLE registry_state (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    revision BIGINT NOT NULL,
    floor    BIGINT NOT NULL
);

INSERT INTO registry_state (id, revision, floor) VALUES (1, 0, 0);

-- Times are microseconds since 1970 UTC. A revision column holds the revision
-- of the row's last change. Names are compared byte by byte, whatever the
-- database's locale: lists and their page tokens rely on it.
CREATE TABLE registry_models (
    name          TEXT COLLATE "C" PRIMARY KEY,
    display_name  TEXT NOT NULL,
    labels        TEXT NOT NULL,
    version_count INTEGER NOT NULL,
    version_bytes BIGINT NOT NULL,
    create_time   BIGINT NOT NULL,
    update_time   BIGINT NOT NULL
);

CREATE TABLE registry_versions (
    model       TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    number      INTEGER NOT NULL CHECK (number > 0),
    digest      TEXT COLLATE "C" NOT NULL,
    spec        BYTEA NOT NULL,
    description TEXT NOT NULL,
    create_time BIGINT NOT NULL,
    PRIMARY KEY (model, number),
    UNIQUE (model, digest)
);

-- Aliases and splits hold on to their versions: no cascade from there.
CREATE TABLE registry_aliases (
    model       TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    version     INTEGER NOT NULL,
    revision    BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (model, name),
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number)
);

CREATE TABLE registry_splits (
    model       TEXT COLLATE "C" PRIMARY KEY REFERENCES registry_models (name),
    salt        TEXT NOT NULL,
    revision    BIGINT NOT NULL,
    update_time BIGINT NOT NULL
);

CREATE TABLE registry_arms (
    model    TEXT COLLATE "C" NOT NULL REFERENCES registry_splits (model) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    version  INTEGER NOT NULL,
    weight   INTEGER NOT NULL CHECK (weight BETWEEN 0 AND 1000000),
    PRIMARY KEY (model, position),
    UNIQUE (model, name),
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number)
);

-- Which model each revision changed. There is no reference to the model: the
-- change that removed it stays.
CREATE TABLE registry_changes (
    revision    BIGINT PRIMARY KEY,
    model       TEXT COLLATE "C" NOT NULL,
    kind        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    commit_time BIGINT NOT NULL
);

-- +goose Down

DROP TABLE registry_changes;
DROP TABLE registry_arms;
DROP TABLE registry_splits;
DROP TABLE registry_aliases;
DROP TABLE registry_versions;
DROP TABLE registry_models;
DROP TABLE registry_state;
