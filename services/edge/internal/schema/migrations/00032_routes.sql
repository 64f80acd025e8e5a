-- +goose Up
-- Times are microseconds since 1970.
CREATE TABLE edge_routes (
    name        TEXT   NOT NULL PRIMARY KEY,
    version     BIGINT NOT NULL, -- the number of the change
    route       TEXT   NOT NULL, -- JSON, as package route writes it
    author      TEXT   NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL
);

-- The number of the last change to any route, by which edges notice changes; also
-- the version of what was changed, so that none comes again.
CREATE TABLE edge_routes_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_routes_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_routes_revision;
DROP TABLE edge_routes;
