-- +goose Up
CREATE TABLE edge_audit (
    time_us           BIGINT  NOT NULL, -- microseconds since 1970
    id                TEXT    NOT NULL,
    request_id        TEXT    NOT NULL,
    tenant            TEXT    NOT NULL,
    subject           TEXT    NOT NULL,
    key_id            TEXT    NOT NULL,
    method            TEXT    NOT NULL,
    resource          TEXT    NOT NULL,
    decision          TEXT    NOT NULL,
    reason            TEXT    NOT NULL,
    duration_us       BIGINT  NOT NULL,
    address           TEXT    NOT NULL,
    served_by         TEXT    NOT NULL,
    arm               TEXT    NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    PRIMARY KEY (time_us, id)
);
CREATE INDEX edge_audit_tenant ON edge_audit (tenant, time_us, id);
CREATE INDEX edge_audit_request ON edge_audit (request_id);

-- +goose Down
DROP TABLE edge_audit;
