package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// mlflowMethods asks of MLflow's names for the registry's calls what those calls
// ask for. A stage is an alias here.
func mlflowMethods() map[string]Method {
	t := map[string]Method{
		edgev1.MlflowService_CreateRegisteredModel_FullMethodName:       {Type: "registry-model", Action: "create", ID: name},
		edgev1.MlflowService_GetRegisteredModel_FullMethodName:          {Type: "registry-model", Action: "get", ID: name},
		edgev1.MlflowService_SearchRegisteredModels_FullMethodName:      {Type: "registry-model", Action: "list"},
		edgev1.MlflowService_UpdateRegisteredModel_FullMethodName:       {Type: "registry-model", Action: "update", ID: name},
		edgev1.MlflowService_DeleteRegisteredModel_FullMethodName:       {Type: "registry-model", Action: "delete", ID: name},
		edgev1.MlflowService_GetLatestVersions_FullMethodName:           {Type: "registry-version", Action: "list", ID: name},
		edgev1.MlflowService_SetRegisteredModelTag_FullMethodName:       {Type: "registry-model", Action: "update", ID: name},
		edgev1.MlflowService_DeleteRegisteredModelTag_FullMethodName:    {Type: "registry-model", Action: "update", ID: name},
		edgev1.MlflowService_SetRegisteredModelAlias_FullMethodName:     {Type: "registry-alias", Action: "set", ID: name},
		edgev1.MlflowService_DeleteRegisteredModelAlias_FullMethodName:  {Type: "registry-alias", Action: "delete", ID: name},
		edgev1.MlflowService_GetModelVersionByAlias_FullMethodName:      {Type: "registry-version", Action: "get", ID: name},
		edgev1.MlflowService_CreateModelVersion_FullMethodName:          {Type: "registry-version", Action: "create", ID: name},
		edgev1.MlflowService_GetModelVersion_FullMethodName:             {Type: "registry-version", Action: "get", ID: name},
		edgev1.MlflowService_SearchModelVersions_FullMethodName:         {Type: "registry-version", Action: "list"},
		edgev1.MlflowService_UpdateModelVersion_FullMethodName:          {Type: "registry-version", Action: "update", ID: name},
		edgev1.MlflowService_DeleteModelVersion_FullMethodName:          {Type: "registry-version", Action: "delete", ID: name},
		edgev1.MlflowService_SetModelVersionTag_FullMethodName:          {Type: "registry-version", Action: "update", ID: name},
		edgev1.MlflowService_DeleteModelVersionTag_FullMethodName:       {Type: "registry-version", Action: "update", ID: name},
		edgev1.MlflowService_GetModelVersionDownloadUri_FullMethodName:  {Type: "registry-version", Action: "get", ID: name},
		edgev1.MlflowService_TransitionModelVersionStage_FullMethodName: {Type: "registry-alias", Action: "set", ID: name},
	}
	for method, m := range t {
		m.Platform = true
		t[method] = m
	}
	return t
}
