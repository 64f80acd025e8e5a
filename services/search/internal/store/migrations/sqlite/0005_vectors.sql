-- +goose Up

-- What makes a collection's vectors near: cosine, dot or l2.
ALTER TABLE search_collections ADD COLUMN vector_metric TEXT NOT NULL DEFAULT 'cosine';

-- +goose Down

ALTER TABLE search_collections DROP COLUMN vector_metric;
