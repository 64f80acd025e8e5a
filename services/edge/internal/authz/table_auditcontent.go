package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// auditContentMethods: content is read by its own tenant only; another tenant's record
// is one that is not there.
func auditContentMethods() map[string]Method {
	return map[string]Method{
		edgev1.AuditContentService_GetAuditContentSettings_FullMethodName:    {Type: "audit-content", Action: "get-settings", Tenant: tenant},
		edgev1.AuditContentService_UpdateAuditContentSettings_FullMethodName: {Type: "audit-content", Action: "update-settings", Tenant: tenant},
		edgev1.AuditContentService_ReadAuditContent_FullMethodName:           {Type: "audit-content", Action: "read", ID: id},
		edgev1.AuditContentService_DeleteSubjectContent_FullMethodName:       {Type: "audit-content", Action: "delete", Tenant: tenant},
		edgev1.AuditContentService_DeleteTenantContent_FullMethodName:        {Type: "audit-content", Action: "delete", Tenant: tenant},
	}
}
