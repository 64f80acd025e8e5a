package inference

import (
	"github.com/poterne/poterne/pkg/assertion"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
)

// searchName is the search service's name in discovery.
const searchName = "poterne-search"

// purposeRetrieval is what search needs on a caller's behalf: an assertion that the
// edge made for search is good here for that, and for nothing else.
const purposeRetrieval = "retrieval"

// identityEnds: inference is called, and calls the registry and workers.
func identityEnds() assertion.Ends { return assertion.Ends{Sends: true, Receives: true} }

// access is who may call each method. Requests name no tenant: models are seen by
// the caller's. Search embeds and counts for itself, too, while it builds an
// embedding generation or a long import goes on: it names nobody then.
func access() assertion.Table {
	models := assertion.Access{Callers: true, Tenant: assertion.Models}
	retrieval := assertion.Access{Callers: true, Tenant: assertion.Models, Purpose: purposeRetrieval, Services: []string{searchName}}
	platform := assertion.Access{Callers: true, Tenant: assertion.Platform}
	return assertion.Table{
		inferencev1.InferenceService_Invoke_FullMethodName:             models,
		inferencev1.InferenceService_InvokeStream_FullMethodName:       models,
		inferencev1.InferenceService_Embed_FullMethodName:              retrieval,
		inferencev1.InferenceService_Rerank_FullMethodName:             retrieval,
		inferencev1.InferenceService_CountTokens_FullMethodName:        retrieval,
		inferencev1.InferenceService_ResolveServing_FullMethodName:     models,
		inferencev1.InferenceService_InferTensors_FullMethodName:       models,
		inferencev1.InferenceService_InferTensorsStream_FullMethodName: models,
		inferencev1.InferenceService_GetTensorModel_FullMethodName:     models,
		inferencev1.InferenceService_ListServedModels_FullMethodName:   models,
		inferencev1.InferenceService_GetServedModel_FullMethodName:     retrieval,
		inferencev1.InferenceService_ListWorkers_FullMethodName:        platform,
		inferencev1.InferenceService_LiftQuarantine_FullMethodName:     platform,
		inferencev1.InferenceService_QuantizeModel_FullMethodName:      models,
	}
}
