package allinone

// auditContentRequests name the tenant, its people and its records.
func auditContentRequests() map[string]request {
	return map[string]request{
		"AuditContentService/GetAuditContentSettings":    {nothing: ownOne},
		"AuditContentService/GetAuditContentSettings+of": {json: `{"tenant":"{tenant}"}`, reads: true},
		"AuditContentService/UpdateAuditContentSettings": {json: `{"tenant":"{tenant}","enabled":false}`},
		"AuditContentService/ReadAuditContent":           {json: `{"id":"{record}"}`},
		"AuditContentService/DeleteSubjectContent":       {json: `{"tenant":"{tenant}","subject":"{subject}"}`},
		"AuditContentService/DeleteTenantContent":        {json: `{"tenant":"{tenant}"}`},
		"AuditService/ProveAuditConsistency":             {json: `{"chain":"{record}","from_size":1,"to_size":2}`, nothing: wholeTrail, platform: true},
		"AuditService/ExportAudit+proofs":                {json: `{"proofs":true}`, nothing: wholeTrail, platform: true},
	}
}

// lastRecord is the id of a record of the tenant.
func (a *acme) lastRecord() string {
	a.g.t.Helper()
	var trail struct{ Records []struct{ ID string } }
	a.g.must("GET", "/v1/admin/audit?page_size=1", a.owner, "", &trail)
	if len(trail.Records) != 1 {
		a.g.t.Fatalf("%+v", trail)
	}
	return trail.Records[0].ID
}
