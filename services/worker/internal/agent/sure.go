package agent

import (
	"strings"

	"google.golang.org/protobuf/proto"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// The bounds are those of worker.proto. A text of so many bytes has no more characters.
const (
	digestPrefix = "sha256:"
	digestDigits = 64
	maxBody      = 16 << 20
	maxReplica   = 64
)

// Sure reports, without reflection, whether m surely keeps the rules of its contract:
// what most requests are made of. false says nothing.
func Sure(m proto.Message) bool {
	req, ok := m.(*workerv1.InvokeRequest)
	if !ok || req == nil || req.Continuation != nil {
		return false
	}
	switch req.Operation {
	case workerv1.Operation_OPERATION_CHAT, workerv1.Operation_OPERATION_COMPLETION:
	default:
		return false
	}
	return isDigest(req.Digest) && len(req.Body) >= 2 && len(req.Body) <= maxBody && len(req.Replica) <= maxReplica
}

func isDigest(s string) bool {
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(digits) != digestDigits {
		return false
	}
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
