-- +goose Up
-- What each step decided about the request, as package explain encodes it; records
-- from before have none.
ALTER TABLE edge_audit ADD COLUMN decisions BYTEA;

-- +goose Down
-- Records that have decisions verify as changed from here on: their hashes are over them.
ALTER TABLE edge_audit DROP COLUMN decisions;
