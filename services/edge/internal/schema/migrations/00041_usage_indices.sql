-- +goose Up
-- Nothing looks for a request's usage by its id: its record in edge_audit tells.
DROP INDEX edge_usage_request;

-- +goose Down
CREATE INDEX edge_usage_request ON edge_usage (request_id);
