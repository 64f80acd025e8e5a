-- +goose Up

-- How a collection's searches put their legs together when they do not say.
-- Empty, and weights that are both 0: none of its own.
ALTER TABLE search_collections ADD COLUMN fusion TEXT NOT NULL DEFAULT '';
ALTER TABLE search_collections ADD COLUMN lexical_weight REAL NOT NULL DEFAULT 0;
ALTER TABLE search_collections ADD COLUMN vector_weight REAL NOT NULL DEFAULT 0;

-- +goose Down

ALTER TABLE search_collections DROP COLUMN vector_weight;
ALTER TABLE search_collections DROP COLUMN lexical_weight;
ALTER TABLE search_collections DROP COLUMN fusion;
