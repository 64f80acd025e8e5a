package authz

import registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"

// rolloutMethods: what a rollout does to splits and aliases, and the figures and
// names in it, are the platform's, whichever model it is about.
func rolloutMethods() map[string]Method {
	return map[string]Method{
		registryv1.RegistryService_CreateRollout_FullMethodName:     {Type: "registry-rollout", Action: "create", ID: modelName, Platform: true},
		registryv1.RegistryService_GetRollout_FullMethodName:        {Type: "registry-rollout", Action: "get", ID: modelName, Platform: true},
		registryv1.RegistryService_ListRollouts_FullMethodName:      {Type: "registry-rollout", Action: "list", ID: modelName, Platform: true},
		registryv1.RegistryService_ListRolloutEvents_FullMethodName: {Type: "registry-rollout", Action: "list", ID: modelName, Platform: true},
		registryv1.RegistryService_PauseRollout_FullMethodName:      {Type: "registry-rollout", Action: "pause", ID: modelName, Platform: true},
		registryv1.RegistryService_ResumeRollout_FullMethodName:     {Type: "registry-rollout", Action: "resume", ID: modelName, Platform: true},
		registryv1.RegistryService_ForceRollout_FullMethodName:      {Type: "registry-rollout", Action: "force", ID: modelName, Platform: true},
		registryv1.RegistryService_AbortRollout_FullMethodName:      {Type: "registry-rollout", Action: "abort", ID: modelName, Platform: true},
	}
}
