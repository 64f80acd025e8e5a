-- +goose Up

-- The headings that a passage stands under, a line each, the outermost first.
-- Passages that were written before have none until they are written again.
ALTER TABLE search_chunks ADD COLUMN headings TEXT NOT NULL DEFAULT '';

-- +goose Down

ALTER TABLE search_chunks DROP COLUMN headings;
