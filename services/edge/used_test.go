package edge_test

import (
	"bufio"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// TestTokensOfAStreamThatEndsEarly holds that the record has what was used by
// the end, whatever ended the stream.
func TestTokensOfAStreamThatEndsEarly(t *testing.T) {
	for name, end := range map[string]struct {
		inference func(ctx context.Context) error
		client    func(leave func())
		want      apierr.Reason
	}{
		"its client leaves": {
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, func(leave func()) { leave() }, apierr.Cancelled,
		},
		"the worker is lost": {
			func(context.Context) error {
				return apierr.New(apierr.EngineFailed, "lost in the middle of the answer")
			}, func(func()) {}, apierr.EngineFailed,
		},
		"its time is over": {
			func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, func(func()) {}, apierr.DeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			trail := filepath.Join(t.TempDir(), "audit.jsonl")
			g := open(t, func(c *edge.Config) {
				c.Security.Audit.Sink, c.Security.Audit.File = audit.SinkFile, trail
				if end.want == apierr.DeadlineExceeded {
					c.Security.Limits.Deadlines.Generate = 300 * time.Millisecond
				}
			})
			g.inference.stream = func(_ *inferencev1.InvokeRequest, out grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) error {
				if err := sendServedBy(out); err != nil {
					return err
				}
				for n := range int32(3) {
					if err := sendCounted(out, helloChunk, 7, n+1); err != nil {
						return err
					}
				}
				return end.inference(out.Context())
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			lines := bufio.NewScanner(g.post(ctx, streamed).Body)
			for n := 0; n < 3 && lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "data: ") {
					n++
				}
			}
			end.client(cancel)
			for lines.Scan() { // until its end
			}
			var got []audit.Record
			for limit := time.After(20 * time.Second); len(got) == 0; got = readTrail(t, trail) {
				select {
				case <-time.After(5 * time.Millisecond):
				case <-limit:
					t.Fatal("it is not recorded")
				}
			}
			if r := got[0]; r.PromptTokens != 7 || r.CompletionTokens != 3 || r.Reason != string(end.want) {
				t.Errorf("recorded as %+v", r)
			}
		})
	}
}
