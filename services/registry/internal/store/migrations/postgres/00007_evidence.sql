-- +goose Up

-- What requests came to. It belongs to no revision: nobody who watches needs it.
-- Every writer of outcomes updates this row first, and they take turns by it.
-- tidied is when old rows were put together last.
CREATE TABLE registry_outcome_state (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    tidied BIGINT NOT NULL
);

INSERT INTO registry_outcome_state (id, tidied) VALUES (1, 0);

-- The last batch of each replica that was counted: what is not after it was
-- counted before.
CREATE TABLE registry_outcome_marks (
    replica     TEXT COLLATE "C" PRIMARY KEY,
    epoch       BIGINT NOT NULL,
    sequence    BIGINT NOT NULL,
    dropped     BIGINT NOT NULL,
    update_time BIGINT NOT NULL
);

-- Sums by time: bucket is its beginning in seconds since 1970, width its length.
-- sums is a poterne.registry.v1.OutcomeSums.
CREATE TABLE registry_outcomes (
    model      TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT COLLATE "C" NOT NULL,
    width      INTEGER NOT NULL,
    bucket     BIGINT NOT NULL,
    arm        TEXT COLLATE "C" NOT NULL,
    version    INTEGER NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    segment    TEXT COLLATE "C" NOT NULL,
    sums       BYTEA NOT NULL,
    PRIMARY KEY (model, experiment, width, bucket, arm, version, digest, segment)
);

CREATE INDEX registry_outcomes_age ON registry_outcomes (width, bucket);

-- How many subjects fell into each arm of a split or experiment as it was at one
-- etag, and which: a subject counts once.
CREATE TABLE registry_exposures (
    model       TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment  TEXT COLLATE "C" NOT NULL,
    etag        TEXT COLLATE "C" NOT NULL,
    arm         TEXT COLLATE "C" NOT NULL,
    weight      INTEGER NOT NULL,
    subjects    BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (model, experiment, etag, arm)
);

CREATE TABLE registry_subjects (
    model      TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment TEXT COLLATE "C" NOT NULL,
    etag       TEXT COLLATE "C" NOT NULL,
    subject    BIGINT NOT NULL,
    PRIMARY KEY (model, experiment, etag, subject)
);

-- Verdicts that may still be replaced; later they are in registry_outcomes.
-- response is the SHA-256 of the answer's id.
CREATE TABLE registry_feedback (
    response      TEXT COLLATE "C" PRIMARY KEY,
    model         TEXT COLLATE "C" NOT NULL REFERENCES registry_models (name) ON DELETE CASCADE,
    experiment    TEXT COLLATE "C" NOT NULL,
    arm           TEXT COLLATE "C" NOT NULL,
    version       INTEGER NOT NULL,
    score         DOUBLE PRECISION NOT NULL,
    comment       TEXT NOT NULL,
    response_time BIGINT NOT NULL,
    update_time   BIGINT NOT NULL
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
