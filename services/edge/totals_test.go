package edge_test

import (
	"strings"
	"testing"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// An engine that tells no total has its counts added up, in every API and form.
func TestUsageHasATotal(t *testing.T) {
	g := open(t, nil)
	const counts = `"usage":{"prompt_tokens":7,"completion_tokens":2}}`
	g.inference.unary = func(req *inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) {
		choice := `{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}`
		if req.GetOperation() == workerv1.Operation_OPERATION_COMPLETION {
			choice = `{"index":0,"text":"Hello","finish_reason":"stop"}`
		}
		return &inferencev1.InvokeResponse{ServedBy: servedBy(), Body: []byte(`{"id":"e","created":5,"choices":[` + choice + `],` + counts), Usage: usage()}, nil
	}
	g.inference.stream = func(req *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
		piece := firstChunk
		if req.GetOperation() == workerv1.Operation_OPERATION_COMPLETION {
			piece = `{"id":"e","created":5,"choices":[{"index":0,"text":"Hello","finish_reason":"stop"}]}`
		}
		for _, send := range []func() error{
			func() error { return sendServedBy(out) },
			func() error { return sendChunk(out, piece) },
			func() error { return sendChunk(out, `{"id":"e","created":5,"choices":[],`+counts) },
		} {
			if err := send(); err != nil {
				return err
			}
		}
		return sendFinish(out)
	}
	for name, c := range map[string]struct{ path, body string }{
		"chat":       {chatPath, `{"model":"small","messages":[{"role":"user","content":"Hi"}],"stream_options":{"include_usage":true},"stream":STREAM}`},
		"completion": {"/v1/completions", `{"model":"small","prompt":"Hi","stream_options":{"include_usage":true},"stream":STREAM}`},
		"response":   {"/v1/responses", `{"model":"small","input":"Hi","store":false,"stream":STREAM}`},
		"embedding":  {"/v1/embeddings", `{"model":"small","input":"Hi"}`},
	} {
		for _, streamed := range []string{"false", "true"} {
			want := `"total_tokens":9`
			body := strings.Replace(c.body, "STREAM", streamed, 1)
			if streamed == "false" {
				body = strings.Replace(body, `"stream_options":{"include_usage":true},`, "", 1)
			}
			if name == "embedding" {
				want = `"total_tokens":4`
			}
			if a := g.do("POST", c.path, body); a.status != 200 || !strings.Contains(a.text, want) || strings.Contains(a.text, `"total_tokens":0`) {
				t.Errorf("%s, stream %s: %d %s", name, streamed, a.status, a.text)
			}
		}
	}
}
