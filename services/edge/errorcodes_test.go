package edge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
)

// A failure has one code on every path of a model: whole, in a stream, and in the line of
// a batch.
func TestAFailureHasOneCodeEverywhere(t *testing.T) {
	for code, failure := range map[string]error{
		"engine_failed":           apierr.New(apierr.EngineFailed, "the engine broke"),
		"context_length_exceeded": apierr.New(apierr.ContextLengthExceeded, "the prompt is too long"),
		"rate_limit_exceeded":     apierr.New(apierr.RateLimited, "the provider has enough"),
	} {
		t.Run(code, func(t *testing.T) {
			g := open(t, func(c *edge.Config) { c.Batches.Poll = 50 * time.Millisecond })
			begun := false
			g.inference.unary = func(*inferencev1.InvokeRequest) (*inferencev1.InvokeResponse, error) { return nil, failure }
			g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
				if begun {
					_ = sendServedBy(out)
					_ = sendChunk(out, helloChunk)
				}
				return failure
			}
			bodies := map[string]string{
				chatPath:          `{"model":"small","messages":[{"role":"user","content":"Hi"}]%s}`,
				"/v1/completions": `{"model":"small","prompt":"Hi"%s}`,
				responsesPath:     `{"model":"small","input":"Hi"%s}`,
				messagesPath:      `{"model":"small","max_tokens":5,"messages":[{"role":"user","content":"Hi"}]%s}`,
			}
			for path, body := range bodies {
				for what, more := range map[string]string{"whole": "", "a stream": `,"stream":true`, "a broken stream": `,"stream":true`} {
					begun = what == "a broken stream"
					if a := g.do("POST", path, fmt.Sprintf(body, more)); strings.Count(a.text, `"code":"`+code+`"`) != 1 {
						t.Errorf("%s, %s: %d %s", path, what, a.status, a.text)
					}
				}
			}
			if code == "rate_limit_exceeded" {
				return // lines of a batch wait for that to pass
			}
			ada, _ := g.batchKey("acme", "ada", "")
			got := g.results(g.ended(g.batched(chatLine("a", "x"), ada...), ada...), ada...)
			if at(got["a"], "response", "body", "error", "code") != code {
				t.Errorf("the line of a batch: %v", got)
			}
		})
	}
}
