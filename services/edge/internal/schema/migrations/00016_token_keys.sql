-- +goose Up

-- The keys that tokens of the edge's own are signed by. Times are microseconds
-- since 1970. A key is published from its row's being there until publish_until,
-- and signs between sign_from and sign_until.
CREATE TABLE edge_token_keys (
    id            TEXT   NOT NULL PRIMARY KEY,
    public_key    TEXT   NOT NULL, -- a JWK
    private_key   TEXT   NOT NULL, -- how it is kept, a colon, and base64
    create_time   BIGINT NOT NULL,
    sign_from     BIGINT NOT NULL,
    sign_until    BIGINT NOT NULL,
    publish_until BIGINT NOT NULL
);

-- +goose Down
DROP TABLE edge_token_keys;
