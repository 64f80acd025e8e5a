package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// routeMethods is administration of the platform: routes are about every tenant.
func routeMethods() map[string]Method {
	return map[string]Method{
		edgev1.RouteService_ListRoutes_FullMethodName:  {Type: "route", Action: "list", Platform: true},
		edgev1.RouteService_GetRoute_FullMethodName:    {Type: "route", Action: "get", ID: routeName, Platform: true},
		edgev1.RouteService_SetRoute_FullMethodName:    {Type: "route", Action: "set", ID: routeName, Platform: true},
		edgev1.RouteService_DeleteRoute_FullMethodName: {Type: "route", Action: "delete", ID: routeName, Platform: true},
		edgev1.RouteService_TestRoutes_FullMethodName:  {Type: "route", Action: "test", Platform: true},
	}
}

func routeName(req any) string {
	if r, ok := req.(interface{ GetName() string }); ok {
		return r.GetName()
	}
	return ""
}
