-- +goose Up
-- What each replica has seen of the version that is tried for a tenant. Times are
-- microseconds since 1970.
CREATE TABLE edge_policy_dry_runs (
    tenant      TEXT   NOT NULL,
    replica     TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    judged      BIGINT NOT NULL,
    different   BIGINT NOT NULL,
    differences TEXT   NOT NULL, -- the last ones, as JSON, newest first
    update_time BIGINT NOT NULL,
    PRIMARY KEY (tenant, replica)
);

-- +goose Down
DROP TABLE edge_policy_dry_runs;
