package authz

// routeMatrix says who may call what is about routes: the platform's administrators.
func routeMatrix(platform string) map[string]string {
	out := make(map[string]string)
	for _, name := range []string{"ListRoutes", "GetRoute", "SetRoute", "DeleteRoute", "TestRoutes"} {
		out["RouteService/"+name] = platform
	}
	return out
}
