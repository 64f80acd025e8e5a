-- +goose Up
-- Times are microseconds since 1970.
CREATE TABLE edge_bans (
    network     TEXT    NOT NULL PRIMARY KEY, -- an address's, or an IPv6 /64, or wider
    reason      TEXT    NOT NULL,
    banned_by   TEXT    NOT NULL,
    create_time BIGINT  NOT NULL,
    expire_time BIGINT  NOT NULL,
    level       INTEGER NOT NULL -- how often the gateway itself has banned it in a row
);
CREATE INDEX edge_bans_expiry ON edge_bans (expire_time);

-- The number of the last change to any ban, by which edges notice changes.
CREATE TABLE edge_bans_revision (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision BIGINT  NOT NULL
);
INSERT INTO edge_bans_revision (one, revision) VALUES (1, 0);

-- +goose Down
DROP TABLE edge_bans_revision;
DROP TABLE edge_bans;
