package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func routeClasses() map[string]Class {
	return map[string]Class{
		edgev1.RouteService_ListRoutes_FullMethodName:  Read,
		edgev1.RouteService_GetRoute_FullMethodName:    Read,
		edgev1.RouteService_SetRoute_FullMethodName:    Write,
		edgev1.RouteService_DeleteRoute_FullMethodName: Write,
		edgev1.RouteService_TestRoutes_FullMethodName:  Read,
	}
}
