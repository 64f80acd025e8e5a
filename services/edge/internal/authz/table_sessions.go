package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func sessionMethods() map[string]Method {
	return map[string]Method{
		// Whose own they are is the caller, who needs no role for that.
		edgev1.SessionService_ListOwnSessions_FullMethodName: {Type: "session", Action: "list-own"},
		edgev1.SessionService_EndOwnSession_FullMethodName:   {Type: "session", Action: "end-own"},
		edgev1.SessionService_EndOwnSessions_FullMethodName:  {Type: "session", Action: "end-own"},

		edgev1.SessionService_ListSessions_FullMethodName:       {Type: "session", Action: "list", Tenant: tenant},
		edgev1.SessionService_EndSession_FullMethodName:         {Type: "session", Action: "end", ID: id},
		edgev1.SessionService_EndSubjectSessions_FullMethodName: {Type: "session", Action: "end", Tenant: tenant},
	}
}
