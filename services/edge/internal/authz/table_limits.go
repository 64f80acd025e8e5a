package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// limitMethods: limits are their tenant's, and those of the platform's tenant
// everybody's.
func limitMethods() map[string]Method {
	return map[string]Method{
		edgev1.LimitService_ListLimits_FullMethodName:     {Type: "limit", Action: "list", Tenant: tenant},
		edgev1.LimitService_GetLimit_FullMethodName:       {Type: "limit", Action: "get", ID: limitName, Tenant: tenant},
		edgev1.LimitService_SetLimit_FullMethodName:       {Type: "limit", Action: "set", ID: limitName, Tenant: tenant},
		edgev1.LimitService_DeleteLimit_FullMethodName:    {Type: "limit", Action: "delete", ID: limitName, Tenant: tenant},
		edgev1.LimitService_GetLimitStatus_FullMethodName: {Type: "limit", Action: "status", Tenant: tenant},
	}
}

func limitName(req any) string {
	if r, ok := req.(interface{ GetName() string }); ok {
		return r.GetName()
	}
	return ""
}
