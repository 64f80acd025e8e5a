package authz

// sessionsMatrix says who may call what is about web sessions.
func sessionsMatrix() map[string]string {
	const all = "platform admin, admin, platform approver, another tenant's approver, developer, reader, no role, a role nobody knows"
	const admins = "platform admin, admin"
	return map[string]string{
		"SessionService/ListOwnSessions":    all,
		"SessionService/EndOwnSession":      all,
		"SessionService/EndOwnSessions":     all,
		"SessionService/ListSessions":       admins,
		"SessionService/EndSession":         admins,
		"SessionService/EndSubjectSessions": admins,
	}
}
