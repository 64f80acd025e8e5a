package authz

// rolloutMatrix: what is seen of a rollout are all tenants' requests, and what it
// does is the platform's.
func rolloutMatrix(platform string) map[string]string {
	return map[string]string{
		"RegistryService/CreateRollout":     platform,
		"RegistryService/GetRollout":        platform,
		"RegistryService/ListRollouts":      platform,
		"RegistryService/ListRolloutEvents": platform,
		"RegistryService/PauseRollout":      platform,
		"RegistryService/ResumeRollout":     platform,
		"RegistryService/ForceRollout":      platform,
		"RegistryService/AbortRollout":      platform,
	}
}
