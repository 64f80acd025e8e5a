-- +goose Up

-- Where a file's pieces lie: '' in edge_file_chunks, otherwise in a place by that name.
ALTER TABLE edge_files ADD COLUMN place TEXT NOT NULL DEFAULT '';

-- +goose Down
-- What lies elsewhere nobody would find any more.
DELETE FROM edge_files WHERE place <> '';
UPDATE edge_file_totals SET
    files = (SELECT COUNT(*) FROM edge_files f WHERE f.tenant = edge_file_totals.tenant),
    bytes = (SELECT COALESCE(SUM(f.bytes), 0) FROM edge_files f WHERE f.tenant = edge_file_totals.tenant);
ALTER TABLE edge_files DROP COLUMN place;
