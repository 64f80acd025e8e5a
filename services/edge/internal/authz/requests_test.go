package authz

// requestMatrix says who may ask about requests: everybody, of their own at least.
func requestMatrix() map[string]string {
	const all = "platform admin, admin, platform approver, another tenant's approver, developer, reader, no role, a role nobody knows"
	return map[string]string{"RequestService/GetRequest": all}
}
