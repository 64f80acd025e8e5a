package agent

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

func TestWhatIsSureKeepsTheRules(t *testing.T) {
	testkit.CheckShortcut(t, Sure, &workerv1.InvokeRequest{
		Digest: "sha256:" + strings.Repeat("0f", 32), Operation: workerv1.Operation_OPERATION_COMPLETION, Body: []byte("{}"), Replica: "r", BatchChunks: true,
	})
	if Sure((*workerv1.InvokeRequest)(nil)) || Sure(&workerv1.EmbedRequest{}) {
		t.Error("another message is taken")
	}
}
