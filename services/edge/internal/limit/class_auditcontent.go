package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// auditContentClasses: reading content is a change to the trail, which is noted before
// it is given.
func auditContentClasses() map[string]Class {
	return map[string]Class{
		edgev1.AuditContentService_GetAuditContentSettings_FullMethodName:    Read,
		edgev1.AuditContentService_UpdateAuditContentSettings_FullMethodName: Write,
		edgev1.AuditContentService_ReadAuditContent_FullMethodName:           Write,
		edgev1.AuditContentService_DeleteSubjectContent_FullMethodName:       Write,
		edgev1.AuditContentService_DeleteTenantContent_FullMethodName:        Write,
	}
}
