package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// auditMethods prove the trail, which is of all tenants, and give it out.
func auditMethods() map[string]Method {
	return map[string]Method{
		edgev1.AuditService_VerifyAudit_FullMethodName:           {Type: "audit", Action: "verify", Platform: true},
		edgev1.AuditService_ProveAuditConsistency_FullMethodName: {Type: "audit", Action: "export"},
		edgev1.AuditService_ListAuditKeys_FullMethodName:         {Type: "audit", Action: "verify", Platform: true},
		edgev1.AuditService_ExportAudit_FullMethodName:           {Type: "audit", Action: "export"},
	}
}
