package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// auditClasses are those of AuditService. Reading the whole trail may take as long as
// a write may.
func auditClasses() map[string]Class {
	return map[string]Class{
		edgev1.AuditService_VerifyAudit_FullMethodName:           Write,
		edgev1.AuditService_ExportAudit_FullMethodName:           Write,
		edgev1.AuditService_ProveAuditConsistency_FullMethodName: Read,
		edgev1.AuditService_ListAuditKeys_FullMethodName:         Read,
	}
}
