package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func sessionClasses() map[string]Class {
	return map[string]Class{
		edgev1.SessionService_ListOwnSessions_FullMethodName:    Read,
		edgev1.SessionService_EndOwnSession_FullMethodName:      Write,
		edgev1.SessionService_EndOwnSessions_FullMethodName:     Write,
		edgev1.SessionService_ListSessions_FullMethodName:       Read,
		edgev1.SessionService_EndSession_FullMethodName:         Write,
		edgev1.SessionService_EndSubjectSessions_FullMethodName: Write,
	}
}
