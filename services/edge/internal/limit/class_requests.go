package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// requestClasses is the part of Table about the explanation of requests.
func requestClasses() map[string]Class {
	return map[string]Class{edgev1.RequestService_GetRequest_FullMethodName: Read}
}
