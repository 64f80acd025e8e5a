-- +goose Up

-- The experiment that decided on the arm; empty when none did.
ALTER TABLE edge_audit ADD COLUMN experiment TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE edge_audit DROP COLUMN experiment;
