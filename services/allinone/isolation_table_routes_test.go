package allinone

// routeRequests are about every tenant's requests, and so for the platform only.
func routeRequests() map[string]request {
	const set = `"name":"{limit}","route":{"match":{"models":["none-of-that-name"]},"retry":{"attempts":2}}`
	return map[string]request{
		"RouteService/ListRoutes":  {nothing: allTenants, platform: true},
		"RouteService/GetRoute":    {json: `{"name":"{limit}"}`, platform: true},
		"RouteService/SetRoute":    {json: `{` + set + `}`, platform: true},
		"RouteService/DeleteRoute": {json: `{"name":"{limit}"}`, platform: true},
		"RouteService/TestRoutes":  {json: `{"model":"{model}","tenant":"{tenant}"}`, platform: true},
	}
}
