-- +goose Up
-- The secret that a webhook had before: it signs, too, until a time.
ALTER TABLE edge_webhooks ADD COLUMN previous_master TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_webhooks ADD COLUMN previous_secret TEXT NOT NULL DEFAULT '';
ALTER TABLE edge_webhooks ADD COLUMN previous_until BIGINT NOT NULL DEFAULT 0;

-- Of output those of thoughts; of input and of output those of sound; documents that
-- were ranked.
ALTER TABLE edge_usage ADD COLUMN reasoning BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage ADD COLUMN audio_input BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage ADD COLUMN audio_output BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage ADD COLUMN documents BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN reasoning BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN audio_input BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN audio_output BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN documents BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN reasoning BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN audio_input BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN audio_output BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN documents BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE edge_usage_days DROP COLUMN documents;
ALTER TABLE edge_usage_days DROP COLUMN audio_output;
ALTER TABLE edge_usage_days DROP COLUMN audio_input;
ALTER TABLE edge_usage_days DROP COLUMN reasoning;
ALTER TABLE edge_usage_hours DROP COLUMN documents;
ALTER TABLE edge_usage_hours DROP COLUMN audio_output;
ALTER TABLE edge_usage_hours DROP COLUMN audio_input;
ALTER TABLE edge_usage_hours DROP COLUMN reasoning;
ALTER TABLE edge_usage DROP COLUMN documents;
ALTER TABLE edge_usage DROP COLUMN audio_output;
ALTER TABLE edge_usage DROP COLUMN audio_input;
ALTER TABLE edge_usage DROP COLUMN reasoning;
ALTER TABLE edge_webhooks DROP COLUMN previous_until;
ALTER TABLE edge_webhooks DROP COLUMN previous_secret;
ALTER TABLE edge_webhooks DROP COLUMN previous_master;
