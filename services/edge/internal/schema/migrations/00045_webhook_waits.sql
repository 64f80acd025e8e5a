-- +goose Up
-- Nothing is told to a webhook before wait_until: an edge tells it something until then,
-- or it failed so many times on end. Microseconds since 1970.
ALTER TABLE edge_webhooks ADD COLUMN wait_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_webhooks ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
-- The first that each webhook waits to be told.
CREATE INDEX edge_webhook_first ON edge_webhook_deliveries (webhook, next_time, event) WHERE state = 'pending';

-- +goose Down
DROP INDEX edge_webhook_first;
ALTER TABLE edge_webhooks DROP COLUMN failures;
ALTER TABLE edge_webhooks DROP COLUMN wait_until;
