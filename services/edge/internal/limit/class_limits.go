package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func limitClasses() map[string]Class {
	return map[string]Class{
		edgev1.LimitService_ListLimits_FullMethodName:     Read,
		edgev1.LimitService_GetLimit_FullMethodName:       Read,
		edgev1.LimitService_SetLimit_FullMethodName:       Write,
		edgev1.LimitService_DeleteLimit_FullMethodName:    Write,
		edgev1.LimitService_GetLimitStatus_FullMethodName: Read,
	}
}
