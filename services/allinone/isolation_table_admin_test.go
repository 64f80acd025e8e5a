package allinone

const (
	wholeTrail = "the trail is one, of all tenants, and is verified as one"
	ownOne     = "it is about what the caller itself, or its tenant, has"
)

// adminRequests are those about keys, service accounts, the audit trail, sessions
// and bans.
func adminRequests() map[string]request {
	const made = `{"id":"{account}","display_name":"mine","roles":["reader"]}`
	out := map[string]request{
		"AdminService/UpdateApiKey":                    {json: `{"id":"{key}","api_key":{"name":"mine"}}`},
		"AdminService/UpdateApiKey+mask":               {json: `{"id":"{key}","api_key":{},"update_mask":"models","etag":"1"}`},
		"AdminService/RotateApiKey":                    {json: `{"id":"{key}"}`},
		"AdminService/RotateApiKey+account":            {json: `{"id":"{account_key}","overlap":"60s"}`},
		"AdminService/RevokeApiKey+account":            {json: `{"id":"{account_key}"}`},
		"AdminService/CheckLeakedApiKeys":              {json: `{"texts":["{secret}"]}`, reads: true, tells: true},
		"AdminService/CheckLeakedApiKeys+revoke":       {json: `{"texts":["{secret}","{secret}"],"revoke":true}`},
		"AdminService/CreateApiKey+account":            {json: `{"name":"mine","service_account":"{account}"}`},
		"AdminService/CreateApiKey+accountof":          {json: `{"name":"mine","tenant":"{tenant}","service_account":"{account}"}`},
		"AdminService/ListApiKeys+tenant":              {json: `{"tenant":"{tenant}"}`, reads: true, tells: true},
		"AdminService/ListApiKeys+account":             {json: `{"service_account":"{account}"}`, reads: true, tells: true},
		"AdminService/ListAuditRecords+of":             {json: `{"request_id":"{request}"}`, reads: true, tells: true},
		"AdminService/ListAuditRecords+tenant":         {json: `{"filter":"tenant = \"{tenant}\""}`, reads: true, tells: true},
		"AdminService/ListAuditRecords+not":            {json: `{"filter":"NOT tenant = \"mine\" AND key_id = \"{key}\""}`, reads: true, tells: true},
		"AuditService/VerifyAudit":                     {nothing: wholeTrail, platform: true},
		"AuditService/ListAuditKeys":                   {nothing: wholeTrail, platform: true},
		"AuditService/ExportAudit":                     {nothing: listsOwn},
		"AuditService/ExportAudit+proof":               {json: `{"proof":true}`, nothing: wholeTrail, platform: true},
		"AuditService/ExportAudit+tenant":              {json: `{"filter":"tenant = \"{tenant}\""}`, reads: true, tells: true},
		"AuditService/ExportAudit+csv":                 {json: `{"format":"csv","filter":"key_id = \"{key}\""}`, reads: true, tells: true},
		"ServiceAccountService/ListServiceAccounts":    {nothing: listsOwn},
		"ServiceAccountService/ListServiceAccounts+of": {json: `{"tenant":"{tenant}"}`, reads: true, tells: true},
		"ServiceAccountService/CreateServiceAccount":   {json: `{"service_account":` + made + `}`},
		"ServiceAccountService/CreateServiceAccount+of": {
			json: `{"service_account":{"id":"{account}","tenant":"{tenant}","roles":["reader"]}}`,
		},
		"SessionService/ListOwnSessions":       {nothing: ownOne},
		"SessionService/EndOwnSession":         {json: `{"id":"{session}"}`},
		"SessionService/EndOwnSessions":        {nothing: ownOne},
		"SessionService/ListSessions":          {nothing: listsOwn},
		"SessionService/ListSessions+tenant":   {json: `{"tenant":"{tenant}"}`, reads: true, tells: true},
		"SessionService/ListSessions+subject":  {json: `{"subject":"{subject}"}`, reads: true, tells: true},
		"SessionService/EndSession":            {json: `{"id":"{session}"}`},
		"SessionService/EndSubjectSessions":    {json: `{"subject":"{subject}"}`},
		"SessionService/EndSubjectSessions+of": {json: `{"tenant":"{tenant}","subject":"{subject}"}`},
		"BanService/CreateBan":                 {json: `{"network":"{ban}","duration":"60s","reason":"mine"}`, platform: true},
		"BanService/ListBans":                  {nothing: allTenants, platform: true},
		"BanService/LiftBan":                   {json: `{"network":"{ban}"}`, platform: true},
	}
	for name, more := range map[string]string{
		"Get": ``, "Update": `,"service_account":{"description":"mine"}`, "Disable": ``, "Enable": ``, "Delete": `,"force":true`,
	} {
		tells := name == "Get"
		out["ServiceAccountService/"+name+"ServiceAccount"] = request{json: `{"id":"{account}"` + more + `}`, tells: tells}
		out["ServiceAccountService/"+name+"ServiceAccount+of"] = request{json: `{"id":"{account}","tenant":"{tenant}"` + more + `}`, reads: tells, tells: tells}
	}
	return out
}

// policyRequests name the tenant whose policy it is, or name none and ask the
// caller's own about the tenant.
func policyRequests() map[string]request {
	const (
		acting = `"action":"chat","resource":{"type":"model","id":"{model}"`
		theirs = `{"caller":{"tenant":"{tenant}","roles":["reader"]},` + acting + `}}`
		owned  = `{"caller":{"roles":["reader"],"groups":["{group}"]},` + acting + `,"tenant":"{tenant}"}}`
		mine   = `{"caller":{"roles":["reader"],"groups":["{group}"]},` + acting + `}}`
		doc    = `{"description":"mine","rules":[{"id":"mine","subject":"group:{group}","type":"model","resource":"{model}","action":"chat","effect":"deny"}]}`
	)
	out := map[string]request{
		"PolicyService/GetPolicy+own":          {nothing: ownOne},
		"PolicyService/ListPolicyVersions+own": {nothing: ownOne},
		"PolicyService/DiffPolicy+own":         {json: `{"from":0,"to":0}`, nothing: ownOne},
		"PolicyService/GetPolicyDryRun+own":    {nothing: ownOne},
		"PolicyService/TestPolicy+own":         {json: `{"cases":[` + mine + `,` + theirs + `,` + owned + `]}`},
		"PolicyService/TestPolicy+document":    {json: `{"document":` + doc + `,"cases":[` + mine + `,` + theirs + `,` + owned + `]}`},
		"PolicyService/ExplainPolicy+own":      {json: `{"case":` + mine + `}`},
		"PolicyService/ExplainPolicy+caller":   {json: `{"case":` + theirs + `}`},
		"PolicyService/ExplainPolicy+resource": {json: `{"case":` + owned + `}`},
		"PolicyService/CreatePolicyVersion+scope": {
			json: `{"validate_only":true,"document":{"rules":[{"subject":"tenant:{tenant}","scope":"{tenant}","effect":"allow"}],"roles":[{"member":"tenant:{tenant}","role":"role:reader","tenant":"{tenant}"}]}}`,
		},
		"PolicyService/CreatePolicyVersion+own": {json: `{"document":` + doc + `,"message":"mine"}`},
	}
	for name, r := range map[string]request{
		"GetPolicy":           {json: ``, reads: true, tells: true},
		"CreatePolicyVersion": {json: `,"document":` + doc + `,"activate":true,"force":true`},
		"ListPolicyVersions":  {json: ``, reads: true, tells: true},
		"GetPolicyVersion":    {json: `,"version":1`, reads: true, tells: true},
		"ActivatePolicy":      {json: `,"version":2,"force":true`},
		"DeactivatePolicy":    {json: `,"force":true`},
		"RollbackPolicy":      {json: `,"version":1,"force":true`},
		"DiffPolicy":          {json: `,"from":1,"to":2`, reads: true, tells: true},
		"TestPolicy":          {json: ``, reads: true, tells: true},
		"TestPolicy+version":  {json: `,"version":2,"cases":[` + mine + `]`, reads: true, tells: true},
		"ExplainPolicy":       {json: `,"case":` + mine, reads: true, tells: true},
		"StartPolicyDryRun":   {json: `,"version":1`},
		"GetPolicyDryRun":     {json: ``, reads: true, tells: true},
	} {
		r.json = `{"tenant":"{tenant}"` + r.json + `}`
		out["PolicyService/"+name] = r
	}
	return out
}
