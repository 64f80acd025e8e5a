-- +goose Up

-- Files of batches. Times are microseconds since 1970; 0 means none.
CREATE TABLE edge_files (
    id          TEXT    NOT NULL PRIMARY KEY,
    tenant      TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    filename    TEXT    NOT NULL, -- a label of the maker's
    purpose     TEXT    NOT NULL,
    ready       INTEGER NOT NULL, -- 0: it is still being written, and nobody sees it
    bytes       BIGINT  NOT NULL,
    chunks      BIGINT  NOT NULL,
    sha256      TEXT    NOT NULL,
    create_time BIGINT  NOT NULL,
    expire_time BIGINT  NOT NULL
);
CREATE INDEX edge_files_owner ON edge_files (tenant, subject, create_time, id);
CREATE INDEX edge_files_expiry ON edge_files (expire_time) WHERE expire_time > 0;

CREATE TABLE edge_file_chunks (
    file TEXT   NOT NULL,
    seq  BIGINT NOT NULL, -- from 0
    data BYTEA  NOT NULL,
    PRIMARY KEY (file, seq)
);

-- What each tenant has in all, so that a bound holds whatever comes at once.
CREATE TABLE edge_file_totals (
    tenant TEXT   NOT NULL PRIMARY KEY,
    files  BIGINT NOT NULL,
    bytes  BIGINT NOT NULL
);

CREATE TABLE edge_batches (
    id               TEXT    NOT NULL PRIMARY KEY,
    tenant           TEXT    NOT NULL,
    subject          TEXT    NOT NULL,
    key_id           TEXT    NOT NULL, -- the API key that it was asked for with; never its secret
    address          TEXT    NOT NULL, -- where from
    endpoint         TEXT    NOT NULL,
    input_file       TEXT    NOT NULL,
    output_file      TEXT    NOT NULL,
    error_file       TEXT    NOT NULL,
    output_seconds   BIGINT  NOT NULL, -- how long files of results last; 0: the gateway's rule
    metadata         TEXT    NOT NULL, -- a JSON object
    status           TEXT    NOT NULL,
    unfinished       INTEGER NOT NULL,
    problems         TEXT    NOT NULL, -- a JSON array
    total            BIGINT  NOT NULL,
    completed        BIGINT  NOT NULL,
    failed           BIGINT  NOT NULL,
    create_time      BIGINT  NOT NULL,
    expire_time      BIGINT  NOT NULL,
    in_progress_time BIGINT  NOT NULL,
    finalizing_time  BIGINT  NOT NULL,
    cancelling_time  BIGINT  NOT NULL,
    end_time         BIGINT  NOT NULL, -- when it came to its last status
    holder           TEXT    NOT NULL, -- the edge that works on it; empty: none
    fence            BIGINT  NOT NULL, -- grows with each holder: writes of those before are refused
    lease_time       BIGINT  NOT NULL, -- until when it is held
    turn_time        BIGINT  NOT NULL  -- when an edge last took it up
);
CREATE INDEX edge_batches_owner ON edge_batches (tenant, subject, create_time, id);
CREATE INDEX edge_batches_unfinished ON edge_batches (tenant, create_time) WHERE unfinished = 1;
CREATE INDEX edge_batches_input ON edge_batches (input_file) WHERE unfinished = 1;
CREATE INDEX edge_batches_end ON edge_batches (end_time) WHERE unfinished = 0;

-- The answers of unfinished batches, as they come to stand in their files.
CREATE TABLE edge_batch_results (
    batch TEXT    NOT NULL,
    line  BIGINT  NOT NULL, -- of the input, from 1
    ok    INTEGER NOT NULL,
    data  BYTEA   NOT NULL,
    PRIMARY KEY (batch, line)
);

-- +goose Down
-- What was not finished ends, and files are gone.
DROP TABLE edge_batch_results;
DROP TABLE edge_batches;
DROP TABLE edge_file_totals;
DROP TABLE edge_file_chunks;
DROP TABLE edge_files;
