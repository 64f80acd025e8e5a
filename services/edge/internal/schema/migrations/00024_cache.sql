-- +goose Up
-- From when on answers may be given again: those from before a purge are not.
CREATE TABLE edge_cache_purges (
    tenant     TEXT   NOT NULL, -- '*': every tenant's
    model      TEXT   NOT NULL, -- '': every model's
    collection TEXT   NOT NULL, -- '': whatever they rest on
    revision   BIGINT NOT NULL,
    PRIMARY KEY (tenant, model, collection)
);
CREATE INDEX edge_cache_purges_revision ON edge_cache_purges (revision);

-- The number of the last purge, by which edges notice purges.
CREATE TABLE edge_cache_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_cache_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_cache_revision;
DROP TABLE edge_cache_purges;
