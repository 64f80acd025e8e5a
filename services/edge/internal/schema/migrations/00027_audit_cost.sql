-- +goose Up
-- In millionths of the currency; without a currency nobody has priced the call.
ALTER TABLE edge_audit ADD COLUMN cost_micros BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_audit ADD COLUMN currency TEXT NOT NULL DEFAULT '';

-- +goose Down
-- Records that cost something verify as changed from here on: their hashes are over it.
ALTER TABLE edge_audit DROP COLUMN currency;
ALTER TABLE edge_audit DROP COLUMN cost_micros;
