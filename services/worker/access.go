package worker

import (
	"github.com/poterne/poterne/pkg/assertion"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// inferenceName is the inference service's name in discovery.
const inferenceName = "poterne-inference"

// identityEnds: a worker is called, and fetches from the registry.
func identityEnds() assertion.Ends { return assertion.Ends{Sends: true, Receives: true} }

// access is who may call each method: the inference service, which has decided
// for whom, and nobody else.
func access() assertion.Table {
	inference := assertion.Access{Services: []string{inferenceName}, Tenant: assertion.None}
	return assertion.Table{
		workerv1.WorkerService_WatchState_FullMethodName:         inference,
		workerv1.WorkerService_LoadModel_FullMethodName:          inference,
		workerv1.WorkerService_UnloadModel_FullMethodName:        inference,
		workerv1.WorkerService_Invoke_FullMethodName:             inference,
		workerv1.WorkerService_InvokeStream_FullMethodName:       inference,
		workerv1.WorkerService_Embed_FullMethodName:              inference,
		workerv1.WorkerService_Rerank_FullMethodName:             inference,
		workerv1.WorkerService_Tokenize_FullMethodName:           inference,
		workerv1.WorkerService_InferTensors_FullMethodName:       inference,
		workerv1.WorkerService_InferTensorsStream_FullMethodName: inference,
		workerv1.WorkerService_GetTensorModel_FullMethodName:     inference,
		workerv1.WorkerService_Quantize_FullMethodName:           inference,
	}
}
