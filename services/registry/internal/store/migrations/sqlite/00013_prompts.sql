-- +goose Up

-- The prompts that arms name, of a split (experiment is empty) or of an experiment
-- that is not concluded. version is 0 where an alias says which.
CREATE TABLE registry_arm_prompts (
    model      TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT NOT NULL,
    arm        TEXT NOT NULL,
    prompt     TEXT NOT NULL REFERENCES registry_prompts (name),
    version    INTEGER NOT NULL,
    alias      TEXT NOT NULL,
    PRIMARY KEY (model, experiment, arm)
);

CREATE INDEX registry_arm_prompts_of ON registry_arm_prompts (prompt, alias);

-- prompt is the version of a prompt that conversations began with, name@v3, or
-- empty.
CREATE TABLE registry_outcomes_new (
    model      TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT NOT NULL,
    width      INTEGER NOT NULL,
    bucket     INTEGER NOT NULL,
    arm        TEXT NOT NULL,
    version    INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    segment    TEXT NOT NULL,
    prompt     TEXT NOT NULL,
    sums       BLOB NOT NULL,
    PRIMARY KEY (model, experiment, width, bucket, arm, version, digest, segment, prompt)
);

INSERT INTO registry_outcomes_new
SELECT model, experiment, width, bucket, arm, version, digest, segment, '', sums FROM registry_outcomes;

DROP TABLE registry_outcomes;
ALTER TABLE registry_outcomes_new RENAME TO registry_outcomes;
CREATE INDEX registry_outcomes_age ON registry_outcomes (width, bucket);

-- +goose Down

-- Sums cannot be added up here: those of conversations with a prompt go.
CREATE TABLE registry_outcomes_old (
    model      TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT NOT NULL,
    width      INTEGER NOT NULL,
    bucket     INTEGER NOT NULL,
    arm        TEXT NOT NULL,
    version    INTEGER NOT NULL,
    digest     TEXT NOT NULL,
    segment    TEXT NOT NULL,
    sums       BLOB NOT NULL,
    PRIMARY KEY (model, experiment, width, bucket, arm, version, digest, segment)
);

INSERT INTO registry_outcomes_old
SELECT model, experiment, width, bucket, arm, version, digest, segment, sums FROM registry_outcomes WHERE prompt = '';

DROP TABLE registry_outcomes;
ALTER TABLE registry_outcomes_old RENAME TO registry_outcomes;
CREATE INDEX registry_outcomes_age ON registry_outcomes (width, bucket);

DROP TABLE registry_arm_prompts;
