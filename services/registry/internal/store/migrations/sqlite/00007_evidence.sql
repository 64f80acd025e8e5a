-- +goose Up

-- What requests came to. It belongs to no revision: nobody who watches needs it.
-- Every writer of outcomes updates this row first, and they take turns by it.
-- tidied is when old rows were put together last.
CREATE TABLE registry_outcome_state (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    tidied INTEGER NOT NULL
);

INSERT INTO registry_outcome_state (id, tidied) VALUES (1, 0);

-- The last batch of each replica that was counted: what is not after it was
-- counted before.
CREATE TABLE registry_outcome_marks (
    replica     TEXT PRIMARY KEY,
    epoch       INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    dropped     INTEGER NOT NULL,
    update_time INTEGER NOT NULL
);

-- Sums by time: bucket is its beginning in seconds since 1970, width its length.
-- sums is a poterne.registry.v1.OutcomeSums.
CREATE TABLE registry_outcomes (
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

CREATE INDEX registry_outcomes_age ON registry_outcomes (width, bucket);

-- How many subjects fell into each arm of a split or experiment as it was at one
-- etag, and which: a subject counts once.
CREATE TABLE registry_exposures (
    model       TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment  TEXT NOT NULL,
    etag        TEXT NOT NULL,
    arm         TEXT NOT NULL,
    weight      INTEGER NOT NULL,
    subjects    INTEGER NOT NULL,
    update_time INTEGER NOT NULL,
    PRIMARY KEY (model, experiment, etag, arm)
);

CREATE TABLE registry_subjects (
    model      TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT NOT NULL,
    etag       TEXT NOT NULL,
    subject    INTEGER NOT NULL,
    PRIMARY KEY (model, experiment, etag, subject)
);

-- Verdicts that may still be replaced; later they are in registry_outcomes.
-- response is the SHA-256 of the answer's id.
CREATE TABLE registry_feedback (
    response      TEXT PRIMARY KEY,
    model         TEXT NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment    TEXT NOT NULL,
    arm           TEXT NOT NULL,
    version       INTEGER NOT NULL,
    score         REAL NOT NULL,
    comment       TEXT NOT NULL,
    response_time INTEGER NOT NULL,
    update_time   INTEGER NOT NULL
);

CREATE INDEX registry_feedback_model ON registry_feedback (model, experiment, response_time);
CREATE INDEX registry_feedback_age ON registry_feedback (response_time);

-- +goose Down

DROP TABLE registry_feedback;
DROP TABLE registry_subjects;
DROP TABLE registry_exposures;
DROP TABLE registry_outcomes;
DROP TABLE registry_outcome_marks;
DROP TABLE registry_outcome_state;
