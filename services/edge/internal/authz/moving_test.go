package authz

// movingCallers is who may move models in and out: by MLflow's names who may by the
// registry's.
func movingCallers(developer, platform string) map[string]string {
	return map[string]string{
		"RegistryService/InspectSource":             platform,
		"RegistryService/ExportModels":              platform,
		"RegistryService/ImportModels":              platform,
		"RegistryService/ExportArchive":             platform,
		"RegistryService/ImportArchive":             platform,
		"MlflowService/CreateRegisteredModel":       platform,
		"MlflowService/GetRegisteredModel":          developer,
		"MlflowService/SearchRegisteredModels":      developer,
		"MlflowService/UpdateRegisteredModel":       platform,
		"MlflowService/DeleteRegisteredModel":       platform,
		"MlflowService/GetLatestVersions":           developer,
		"MlflowService/SetRegisteredModelTag":       platform,
		"MlflowService/DeleteRegisteredModelTag":    platform,
		"MlflowService/SetRegisteredModelAlias":     platform,
		"MlflowService/DeleteRegisteredModelAlias":  platform,
		"MlflowService/GetModelVersionByAlias":      developer,
		"MlflowService/CreateModelVersion":          platform,
		"MlflowService/GetModelVersion":             developer,
		"MlflowService/SearchModelVersions":         developer,
		"MlflowService/UpdateModelVersion":          platform,
		"MlflowService/DeleteModelVersion":          platform,
		"MlflowService/SetModelVersionTag":          platform,
		"MlflowService/DeleteModelVersionTag":       platform,
		"MlflowService/GetModelVersionDownloadUri":  developer,
		"MlflowService/TransitionModelVersionStage": platform,
	}
}
