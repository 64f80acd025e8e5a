-- +goose Up
-- Records of one instant are few: a question sorts them by their ids, which were two
-- thirds of what these indexes held.
DROP INDEX edge_audit_tenant;
CREATE INDEX edge_audit_tenant ON edge_audit (tenant, time_us);
DROP INDEX edge_audit_subject;
CREATE INDEX edge_audit_subject ON edge_audit (subject, time_us);

-- +goose Down
DROP INDEX edge_audit_subject;
CREATE INDEX edge_audit_subject ON edge_audit (subject, time_us, id);
DROP INDEX edge_audit_tenant;
CREATE INDEX edge_audit_tenant ON edge_audit (tenant, time_us, id);
