package api

import (
	"google.golang.org/protobuf/proto"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// The bounds are those of inference.proto. A text of so many bytes has no more characters.
const (
	maxName     = 256
	maxAttempts = 8
)

// Sure reports, without reflection, whether m surely keeps the rules of its contract:
// what most requests are made of. false says nothing.
func Sure(m proto.Message) bool {
	req, ok := m.(*inferencev1.InvokeRequest)
	if !ok || req == nil {
		return false
	}
	if req.Prompt != nil || req.WaitForReady != nil || len(req.ExperimentHeaders) > 0 {
		return false
	}
	switch req.Operation {
	case workerv1.Operation_OPERATION_CHAT, workerv1.Operation_OPERATION_COMPLETION:
	default:
		return false
	}
	return req.Model != "" && len(req.Model) <= maxName && len(req.Body) >= 2 && len(req.Body) <= maxBody &&
		len(req.RoutingKey) <= maxName && len(req.SessionId) <= maxName && req.MaxAttempts >= 0 && req.MaxAttempts <= maxAttempts
}
