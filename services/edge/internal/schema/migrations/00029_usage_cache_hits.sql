-- +goose Up
-- What was answered from the response cache: no model worked on it. Rows of the
-- outcome cached have used nothing.
ALTER TABLE edge_usage ADD COLUMN hit INTEGER NOT NULL DEFAULT 0;
ALTER TABLE edge_usage ADD COLUMN saved_input BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage ADD COLUMN saved_output BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN hits BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN saved_input BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_hours ADD COLUMN saved_output BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN hits BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN saved_input BIGINT NOT NULL DEFAULT 0;
ALTER TABLE edge_usage_days ADD COLUMN saved_output BIGINT NOT NULL DEFAULT 0;

-- +goose Down
DELETE FROM edge_usage WHERE outcome = 'cached';
ALTER TABLE edge_usage_days DROP COLUMN saved_output;
ALTER TABLE edge_usage_days DROP COLUMN saved_input;
ALTER TABLE edge_usage_days DROP COLUMN hits;
ALTER TABLE edge_usage_hours DROP COLUMN saved_output;
ALTER TABLE edge_usage_hours DROP COLUMN saved_input;
ALTER TABLE edge_usage_hours DROP COLUMN hits;
ALTER TABLE edge_usage DROP COLUMN saved_output;
ALTER TABLE edge_usage DROP COLUMN saved_input;
ALTER TABLE edge_usage DROP COLUMN hit;
