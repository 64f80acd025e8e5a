package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func requestMethods() map[string]Method {
	return map[string]Method{
		// Whose requests the caller may know of is for the service: the own ones at least.
		edgev1.RequestService_GetRequest_FullMethodName: {Type: "request", Action: "get-own"},
	}
}
