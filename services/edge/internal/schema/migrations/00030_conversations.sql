-- +goose Up

-- Conversations that the gateway remembers. Times are microseconds since 1970.
CREATE TABLE edge_conversations (
    tenant      TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    id          TEXT   NOT NULL, -- the owner's own name for it
    version     BIGINT NOT NULL, -- changes with every change
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    expire_time BIGINT NOT NULL,
    turns       BIGINT NOT NULL, -- that there have been
    summarized  BIGINT NOT NULL, -- of them, those that the summary stands for
    body        TEXT   NOT NULL, -- the conversation, a JSON object
    PRIMARY KEY (tenant, subject, id)
);
CREATE INDEX edge_conversations_rest ON edge_conversations (tenant, subject, update_time);
CREATE INDEX edge_conversations_expiry ON edge_conversations (expire_time);

-- +goose Down
DROP TABLE edge_conversations;
