//go:build real

package worker_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker"
)

// quantized has a worker make weights, and returns the phases that it told and the
// result.
func (r *rig) quantized(ctx context.Context, req *workerv1.QuantizeRequest) ([]workerv1.QuantizePhase, *workerv1.QuantizeResult, error) {
	stream, err := r.client.Quantize(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	var phases []workerv1.QuantizePhase
	var result *workerv1.QuantizeResult
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return phases, result, nil
		}
		if err != nil {
			return phases, nil, err
		}
		if p := resp.GetProgress(); p != nil && (len(phases) == 0 || phases[len(phases)-1] != p.GetPhase()) {
			phases = append(phases, p.GetPhase())
		}
		result = resp.GetResult()
	}
}

// TestRealQuantize makes smaller weights of a real model, measures both, and serves
// them.
func TestRealQuantize(t *testing.T) {
	cfg := testConfig(t)
	cfg.Engines.LlamaServer = worker.DefaultConfig().Engines.LlamaServer
	cfg.Engines.LlamaServer.Path, cfg.Engines.LlamaServer.Slots = variable(t, "POTERNE_LLAMA_SERVER"), 1
	cfg.Engines.LlamaServer.Quantize = variable(t, "POTERNE_LLAMA_QUANTIZE") // its other lies beside llama-server
	cfg.Supervision.HealthInterval, cfg.Quantize.Threads = 5*time.Second, 2
	r := run(t, cfg)
	text, err := os.ReadFile("testdata/perplexity.txt")
	if err != nil {
		t.Fatal(err)
	}
	req := &workerv1.QuantizeRequest{
		Digest: digest("a"), Name: "chat@v1", Spec: chatSpec(t), Type: "q2_k", Text: text[:6000], Window: 128,
	}
	if _, _, err := r.quantized(t.Context(), req); apierr.ReasonOf(err) != apierr.FailedPrecondition || !strings.Contains(err.Error(), "allow_requantize") {
		t.Fatalf("of weights that are quantised already: %v", err)
	}
	req.AllowRequantize = true
	begun := time.Now()
	phases, result, err := r.quantized(t.Context(), req)
	if err != nil {
		t.Fatalf("after %v: %v", phases, err)
	}
	before, after := result.GetSourcePerplexity(), result.GetPerplexity()
	t.Logf("%v: %d bytes from %d, perplexity %.2f ± %.2f from %.2f ± %.2f, by %s, in %v", phases, result.GetSizeBytes(), result.GetSourceSizeBytes(),
		after.GetValue(), after.GetError(), before.GetValue(), before.GetError(), result.GetQuantizer(), time.Since(begun))
	switch {
	case result.GetSizeBytes() >= result.GetSourceSizeBytes() || result.GetSizeBytes() < 60<<20:
		t.Errorf("sizes: %v", result)
	// A model of 135 million numbers finds such a text neither easy nor noise.
	case before.GetValue() < 5 || before.GetValue() > 80 || before.GetError() <= 0 || before.GetTokens() < 500:
		t.Errorf("the source's perplexity: %v", before)
	case after.GetValue() <= before.GetValue() || after.GetValue() > 3*before.GetValue() || after.GetTokens() != before.GetTokens():
		t.Errorf("perplexity: %v, of the source %v", after, before)
	case result.GetWindow() != 128 || len(result.GetTextSha256()) != 64 || !strings.HasPrefix(result.GetQuantizer(), "llama-quantize "):
		t.Errorf("result: %v", result)
	}
	// Again: nothing is made twice.
	begun = time.Now()
	if _, again, err := r.quantized(t.Context(), req); err != nil || again.GetSpec().GetArtifacts()[0].GetSha256() != result.GetSpec().GetArtifacts()[0].GetSha256() {
		t.Errorf("again: %v, %v", again, err)
	}
	t.Logf("again: %v", time.Since(begun))
	r.load("b", result.GetSpec())
	resp, err := r.client.Invoke(t.Context(), chatRequest("b", `,"max_tokens":12`))
	if err != nil || answer(t, resp.GetBody()) == "" {
		t.Fatalf("got %v, %v", resp, err)
	}
	t.Logf("the variant said %q", answer(t, resp.GetBody()))
	req.Text = text[:600]
	if _, _, err := r.quantized(t.Context(), req); apierr.ReasonOf(err) != apierr.InvalidArgument || !strings.Contains(err.Error(), "two windows") {
		t.Errorf("a text that is too short: %v", err)
	}
}
