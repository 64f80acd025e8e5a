-- +goose Up

-- Tests of a model's versions against each other. body is the whole experiment as
-- a message; the columns beside it are what is searched by. bytes is what it adds
-- to the model's version_bytes, to be given back when it goes.
CREATE TABLE registry_experiments (
    model       TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    name        TEXT COLLATE "C" NOT NULL,
    state       INTEGER NOT NULL,
    layer       TEXT COLLATE "C" NOT NULL,
    body        BYTEA NOT NULL,
    bytes       BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (model, name)
);

-- The versions that experiments name, until they are concluded: no cascade from
-- there.
CREATE TABLE registry_experiment_versions (
    model      TEXT COLLATE "C" NOT NULL,
    experiment TEXT COLLATE "C" NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (model, experiment, version),
    FOREIGN KEY (model, experiment) REFERENCES registry_experiments (model, name) ON DELETE CASCADE,
    FOREIGN KEY (model, version) REFERENCES registry_versions (model, number)
);

-- +goose Down

UPDATE registry_models SET version_bytes = version_bytes -
    COALESCE((SELECT sum(bytes) FROM registry_experiments WHERE model = registry_models.name), 0);

DROP TABLE registry_experiment_versions;
DROP TABLE registry_experiments;
