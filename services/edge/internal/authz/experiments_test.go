package authz

// experimentMethods says who may call what is about experiments, which name tenants
// and testers.
func experimentMethods(platform string) map[string]string {
	out := make(map[string]string)
	for _, verb := range []string{"Create", "Get", "Update", "Delete", "Start", "Ramp", "Stop", "Conclude"} {
		out["RegistryService/"+verb+"Experiment"] = platform
	}
	out["RegistryService/ListExperiments"] = platform
	return out
}
