-- +goose Up
-- Times are microseconds since 1970.
CREATE TABLE edge_responses (
    id          TEXT   NOT NULL PRIMARY KEY, -- what of a response's id is signed
    tenant      TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    previous    TEXT   NOT NULL, -- the id of the one that it goes on from; empty: none
    create_time BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    input       TEXT   NOT NULL, -- the items that were asked, a JSON array
    response    TEXT   NOT NULL  -- as it was answered, a JSON object
);
CREATE INDEX edge_responses_subject ON edge_responses (tenant, subject, create_time);
CREATE INDEX edge_responses_expiry ON edge_responses (expire_time);

-- +goose Down
DROP TABLE edge_responses;
