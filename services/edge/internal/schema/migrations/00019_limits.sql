-- +goose Up
-- Times are microseconds since 1970.
CREATE TABLE edge_limits (
    tenant      TEXT   NOT NULL, -- empty: the platform's
    name        TEXT   NOT NULL,
    version     BIGINT NOT NULL, -- counts the changes
    rule        TEXT   NOT NULL, -- JSON, as package limitrule writes it
    author      TEXT   NOT NULL,
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- The number of the last change to any limit, by which edges notice changes; also
-- the version of what was changed, so that none comes again.
CREATE TABLE edge_limits_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_limits_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_limits_revision;
DROP TABLE edge_limits;
