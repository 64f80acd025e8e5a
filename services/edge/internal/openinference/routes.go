package openinference

import oip "github.com/poterne/poterne/proto/gen/inference"

// Route is a REST call of the protocol. The contract has no bindings for them:
// several paths lead to one method, and bodies may be more than JSON.
type Route struct {
	Method, Path string
	// RPC is the method that the call becomes.
	RPC string
}

// The names of the paths' parameters.
const (
	PathModel   = "{model}"
	PathVersion = "{version}"
)

// Routes returns every REST call of the protocol.
func Routes() []Route {
	const model, version = "/v2/models/" + PathModel, "/v2/models/" + PathModel + "/versions/" + PathVersion
	return []Route{
		{"GET", "/v2/health/live", oip.GRPCInferenceService_ServerLive_FullMethodName},
		{"GET", "/v2/health/ready", oip.GRPCInferenceService_ServerReady_FullMethodName},
		{"GET", "/v2", oip.GRPCInferenceService_ServerMetadata_FullMethodName},
		{"GET", model, oip.GRPCInferenceService_ModelMetadata_FullMethodName},
		{"GET", version, oip.GRPCInferenceService_ModelMetadata_FullMethodName},
		{"GET", model + "/ready", oip.GRPCInferenceService_ModelReady_FullMethodName},
		{"GET", version + "/ready", oip.GRPCInferenceService_ModelReady_FullMethodName},
		{"POST", model + "/infer", oip.GRPCInferenceService_ModelInfer_FullMethodName},
		{"POST", version + "/infer", oip.GRPCInferenceService_ModelInfer_FullMethodName},
		{"POST", "/v2/repository/index", oip.GRPCInferenceService_RepositoryIndex_FullMethodName},
	}
}
