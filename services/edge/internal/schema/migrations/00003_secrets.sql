-- +goose Up

-- Secrets that all replicas share, in hexadecimal digits. The first replica that
-- needs one makes it.
CREATE TABLE edge_secrets (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- +goose Down
DROP TABLE edge_secrets;
