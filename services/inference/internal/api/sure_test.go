package api_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/api"
)

func TestWhatIsSureKeepsTheRules(t *testing.T) {
	testkit.CheckShortcut(t, api.Sure, &inferencev1.InvokeRequest{
		Model: "m@v1", Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte("{}"), RoutingKey: "k", SessionId: "s",
		Priority: inferencev1.Priority_PRIORITY_BATCH, BatchChunks: true, MaxAttempts: 2,
	})
	if api.Sure((*inferencev1.InvokeRequest)(nil)) || api.Sure(&inferencev1.EmbedRequest{}) {
		t.Error("another message is taken")
	}
}
