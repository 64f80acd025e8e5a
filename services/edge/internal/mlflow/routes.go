// Package mlflow answers MLflow's model registry API by asking Poterne's registry,
// so that MLflow's own client reads and writes it. What has no counterpart there is
// refused. It keeps nothing; start reading at Server, and at Routes for the paths.
package mlflow

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// Prefix begins every path of MLflow's API.
const Prefix = "/api/2.0/mlflow/"

// Route is a REST call of MLflow's.
type Route struct {
	Method, Path string
	// RPC is the method that the call becomes.
	RPC string
}

// Routes returns every REST call that is answered. The contract has no bindings for
// them: MLflow's clients send bodies with DELETE, and fields that are not known
// here.
func Routes() []Route {
	const models, versions = Prefix + "registered-models/", Prefix + "model-versions/"
	return []Route{
		{"POST", models + "create", edgev1.MlflowService_CreateRegisteredModel_FullMethodName},
		{"GET", models + "get", edgev1.MlflowService_GetRegisteredModel_FullMethodName},
		{"GET", models + "search", edgev1.MlflowService_SearchRegisteredModels_FullMethodName},
		{"PATCH", models + "update", edgev1.MlflowService_UpdateRegisteredModel_FullMethodName},
		{"DELETE", models + "delete", edgev1.MlflowService_DeleteRegisteredModel_FullMethodName},
		{"GET", models + "get-latest-versions", edgev1.MlflowService_GetLatestVersions_FullMethodName},
		{"POST", models + "get-latest-versions", edgev1.MlflowService_GetLatestVersions_FullMethodName},
		{"POST", models + "set-tag", edgev1.MlflowService_SetRegisteredModelTag_FullMethodName},
		{"DELETE", models + "delete-tag", edgev1.MlflowService_DeleteRegisteredModelTag_FullMethodName},
		{"POST", models + "alias", edgev1.MlflowService_SetRegisteredModelAlias_FullMethodName},
		{"DELETE", models + "alias", edgev1.MlflowService_DeleteRegisteredModelAlias_FullMethodName},
		{"GET", models + "alias", edgev1.MlflowService_GetModelVersionByAlias_FullMethodName},
		{"POST", versions + "create", edgev1.MlflowService_CreateModelVersion_FullMethodName},
		{"GET", versions + "get", edgev1.MlflowService_GetModelVersion_FullMethodName},
		{"GET", versions + "search", edgev1.MlflowService_SearchModelVersions_FullMethodName},
		{"PATCH", versions + "update", edgev1.MlflowService_UpdateModelVersion_FullMethodName},
		{"DELETE", versions + "delete", edgev1.MlflowService_DeleteModelVersion_FullMethodName},
		{"POST", versions + "set-tag", edgev1.MlflowService_SetModelVersionTag_FullMethodName},
		{"DELETE", versions + "delete-tag", edgev1.MlflowService_DeleteModelVersionTag_FullMethodName},
		{"GET", versions + "get-download-uri", edgev1.MlflowService_GetModelVersionDownloadUri_FullMethodName},
		{"POST", versions + "transition-stage", edgev1.MlflowService_TransitionModelVersionStage_FullMethodName},
	}
}
