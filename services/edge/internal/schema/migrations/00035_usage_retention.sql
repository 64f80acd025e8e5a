-- +goose Up
-- Single requests from before this are forgotten, and only in the sums.
ALTER TABLE edge_usage_turn ADD COLUMN kept_from BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE edge_usage_turn DROP COLUMN kept_from;
