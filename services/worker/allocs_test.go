package worker_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// The most that a chat may allocate on its way through the worker, the client's steps
// included; the engine is another process. Some 45; whoever needs more says why.
const chatAllocs = 56

func TestAChatAllocatesLittle(t *testing.T) {
	r := run(t, testConfig(t))
	r.load("a", simSpec(nil))
	client := workerv1.NewWorkerServiceClient(grpcclient.Intercept("worker", inproc.New(r.service.Interceptors(), r.service.RegisterGRPC,
		inproc.Sharing(workerv1.WorkerService_Invoke_FullMethodName)), grpcclient.DefaultConfig(), telemetry.Discard()))
	ctx := requestid.NewContext(t.Context(), "some-request")
	n := testing.AllocsPerRun(500, func() {
		resp, err := client.Invoke(ctx, chatRequest("a", `,"model":"m","max_tokens":16`))
		if err != nil || resp.GetUsage().GetCompletionTokens() != 16 {
			t.Fatalf("%v, %v", resp.GetUsage(), err)
		}
	})
	if t.Logf("a chat allocates %.0f times", n); n > chatAllocs {
		t.Errorf("a chat allocates %.0f times, want at most %d", n, chatAllocs)
	}
}
