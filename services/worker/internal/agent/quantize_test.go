package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/memory"
	"github.com/poterne/poterne/services/worker/internal/process"
	"github.com/poterne/poterne/services/worker/internal/quantize"
	"github.com/poterne/poterne/services/worker/internal/quantize/quantizetest"
)

func TestMain(m *testing.M) {
	if code, is := quantizetest.Main(); is {
		os.Exit(code) //nolint:forbidigo // this is main
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

// quantizeRig is an agent that can quantise; measuring takes needs bytes.
func quantizeRig(t *testing.T, needs int64, change func(*Config, *Parts)) (*rig, *quantizetest.Tools) {
	t.Helper()
	tools := quantizetest.New(t)
	r := newRigWith(t, func(cfg *Config, parts *Parts) {
		ledger, err := process.OpenLedger(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ledger.Close() })
		made := quantize.DefaultConfig()
		made.Directory = t.TempDir()
		parts.Maker, err = quantize.New(made, quantize.Parts{
			Quantize: tools.QuantizeProgram(), Perplexity: tools.PerplexityProgram(), Ledger: ledger, Log: parts.Telemetry.Logger,
			DiskFree: func(string) (int64, error) { return math.MaxInt64, nil }, Verify: parts.Artifacts.Verify,
			Read: func(string) (quantize.Weights, error) {
				return quantize.Weights{MeasureBytes: func(int) int64 { return needs }}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = parts.Maker.Close() })
		change(cfg, parts)
	})
	return r, tools
}

func unchanged(*Config, *Parts) {}

// roomy gives it more memory than the other tests' workers have.
func roomy(_ *Config, p *Parts) { p.Pools = memory.NewPools(map[string]int64{engine.PoolCPU: gib}) }

// weightsSpec is a version whose weights are a file that the fakes take for one.
func weightsSpec(t *testing.T) *commonv1.ModelSpec {
	t.Helper()
	data := []byte(quantizetest.Magic + " the weights")
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_CHAT, Engine: engine.KindLlamaServer, ContextLength: 2048, Parameters: map[string]string{"parallel": "2"},
		Artifacts: []*commonv1.Artifact{
			{Uri: "file:///nowhere/projector", Sha256: strings.Repeat("a", 64), Role: engine.RoleProjector},
			{Uri: "file://" + path, Sha256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(data))},
		},
	}
}

func (r *rig) quantize(ctx context.Context, req *workerv1.QuantizeRequest) ([]*workerv1.QuantizeProgress, *workerv1.QuantizeResult, error) {
	stream, err := r.client.Quantize(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	var progress []*workerv1.QuantizeProgress
	var result *workerv1.QuantizeResult
	for {
		resp, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return progress, result, nil
		case err != nil:
			return progress, nil, err
		case resp.GetProgress() != nil:
			progress = append(progress, resp.GetProgress())
		}
		result = resp.GetResult()
	}
}

func quantizeRequest(t *testing.T) *workerv1.QuantizeRequest {
	t.Helper()
	return &workerv1.QuantizeRequest{Digest: digest("a"), Name: "tiny@v1", Spec: weightsSpec(t), Type: "q4_k_m", Text: []byte("a text")}
}

func (r *rig) used() int64 {
	for _, p := range r.agent.parts.Pools.List() {
		if p.ID == engine.PoolCPU {
			return p.Used
		}
	}
	return -1
}

// until waits for something that other processes bring about.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for begun := time.Now(); !holds(); pass(time.Millisecond) {
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("not within half a minute: %s", what)
		}
	}
}

func TestQuantize(t *testing.T) {
	r, _ := quantizeRig(t, 1000, roomy)
	req := quantizeRequest(t)
	_, got, err := r.quantize(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	spec := got.GetSpec()
	weights := spec.GetArtifacts()[1]
	if spec.GetContextLength() != 2048 || spec.GetParameters()["parallel"] != "2" || spec.GetArtifacts()[0].GetUri() != "file:///nowhere/projector" ||
		weights.GetSizeBytes() != got.GetSizeBytes() || weights.GetRole() != engine.RoleWeights || !strings.HasSuffix(weights.GetUri(), "/tiny.q4_k_m.gguf") || weights.GetName() != "tiny.q4_k_m.gguf" {
		t.Errorf("spec %v", spec)
	}
	if path, err := r.agent.parts.Artifacts.Locate(weights, 1); err != nil || r.agent.parts.Artifacts.Verify(t.Context(), path, weights.GetSha256()) != nil {
		t.Errorf("the weights: %v", err)
	}
	if got.GetPerplexity().GetValue() != 12.5 || got.GetSourcePerplexity().GetValue() != 10.25 || got.GetPerplexity().GetTokens() != 1020 || got.GetWindow() != 512 {
		t.Errorf("got %v", got)
	}
	if req.GetSpec().GetArtifacts()[1].GetSizeBytes() == got.GetSizeBytes() {
		t.Error("the request was changed")
	}
	// The worker tells what it can make.
	q := r.agent.State("").GetQuantizers()
	if len(q) != 1 || q[0].GetEngine() != engine.KindLlamaServer || !q[0].GetMeasures() || !slices.Contains(q[0].GetTypes(), "q4_k_m") {
		t.Errorf("quantizers %v", q)
	}
	if r.used() != 0 {
		t.Errorf("memory is held: %d", r.used())
	}
}

// Events come at least every second while it runs, others are refused meanwhile,
// and it holds memory; when its caller goes nothing is left.
func TestQuantizeOneAtATime(t *testing.T) {
	r, tools := quantizeRig(t, 1000, roomy)
	tools.Quantize(quantizetest.Slow)
	req := quantizeRequest(t)
	req.Text = nil
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := r.client.Quantize(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	begun, events := time.Now(), 0
	for halfway := false; !halfway || events < 4; events++ {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		p := resp.GetProgress()
		halfway = p.GetPhase() == workerv1.QuantizePhase_QUANTIZE_PHASE_QUANTIZING && p.GetPercent() == 50
	}
	if every := time.Since(begun) / time.Duration(events); every > time.Second {
		t.Errorf("an event every %v", every)
	}
	if r.used() <= 0 {
		t.Error("no memory is held")
	}
	for range 3 {
		if _, _, err := r.quantize(t.Context(), quantizeRequest(t)); apierr.ReasonOf(err) != apierr.Overloaded || apierr.From(err).RetryAfter == 0 {
			t.Errorf("another: %v", err)
		}
	}
	pid := int(r.agent.currentQuantizing().child.Load())
	cancel()
	until(t, "it is gone", func() bool { return r.agent.currentQuantizing() == nil })
	if u := process.Usages([]int{pid}); pid <= 0 || len(u) != 0 {
		t.Errorf("process %d is left: %v", pid, u)
	}
	if r.used() != 0 {
		t.Errorf("memory is held: %d", r.used())
	}
	tools.Quantize(quantizetest.Good)
	until(t, "the next is taken", func() bool { _, _, err := r.quantize(t.Context(), quantizeRequest(t)); return err == nil })
}

// What is recorded answers while another runs, and when its source is gone.
func TestQuantizeAnswersFromTheRecord(t *testing.T) {
	r, tools := quantizeRig(t, 1000, roomy)
	req := quantizeRequest(t)
	_, first, err := r.quantize(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	tools.Quantize(quantizetest.Slow)
	other := proto.CloneOf(req)
	other.Type = "q8_0"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _, _ = r.quantize(ctx, other)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	until(t, "another runs", func() bool { j := r.agent.currentQuantizing(); return j != nil && j.progress().GetPercent() == 50 })
	if err := os.Remove(strings.TrimPrefix(req.GetSpec().GetArtifacts()[1].GetUri(), "file://")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := r.quantize(t.Context(), req); err != nil || !proto.Equal(got, first) {
		t.Errorf("got %v, %v, want %v", got, err, first)
	}
	third := proto.CloneOf(req)
	third.Type = "q4_0"
	if _, _, err := r.quantize(t.Context(), third); apierr.ReasonOf(err) != apierr.Overloaded {
		t.Errorf("what is not recorded: %v", err)
	}
}

func TestQuantizeRefuses(t *testing.T) {
	r, tools := quantizeRig(t, 101*mib, unchanged)
	for name, tt := range map[string]struct {
		change func(*workerv1.QuantizeRequest)
		reason apierr.Reason
		want   string
	}{
		"the simulator":  {func(q *workerv1.QuantizeRequest) { q.Spec.Engine = engine.KindSim }, apierr.InvalidArgument, "llama-server"},
		"several files":  {func(q *workerv1.QuantizeRequest) { q.Spec.Artifacts[0].Role = "" }, apierr.InvalidArgument, "join them"},
		"no weights":     {func(q *workerv1.QuantizeRequest) { q.Spec.Artifacts = q.Spec.Artifacts[:1] }, apierr.InvalidArgument, "weights"},
		"embedding text": {func(q *workerv1.QuantizeRequest) { q.Spec.Task = commonv1.Task_TASK_EMBEDDING }, apierr.InvalidArgument, "generate text"},
		"type":           {func(q *workerv1.QuantizeRequest) { q.Type = "q9_z" }, apierr.InvalidArgument, "q4_k_m"},
		"other content": {
			func(q *workerv1.QuantizeRequest) { q.Spec.Artifacts[1].Sha256 = strings.Repeat("0", 64) },
			apierr.FailedPrecondition, "SHA-256",
		},
		"memory": {func(*workerv1.QuantizeRequest) {}, apierr.FailedPrecondition, "MiB on cpu, where 100.0 MiB of 100.0 MiB are free"},
	} {
		req := quantizeRequest(t)
		tt.change(req)
		if _, _, err := r.quantize(t.Context(), req); apierr.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if calls := tools.Calls(); len(calls) > 0 {
		t.Errorf("ran %q", calls)
	}
	if _, _, err := newRig(t).quantize(t.Context(), quantizeRequest(t)); apierr.ReasonOf(err) != apierr.FailedPrecondition {
		t.Errorf("without a quantiser: %v", err)
	}
}

// Draining lets what runs go on for a while, takes nothing new, and then ends it.
func TestDrainEndsQuantizing(t *testing.T) {
	r, tools := quantizeRig(t, 1000, func(c *Config, p *Parts) {
		c.DrainTimeout = 300 * time.Millisecond
		roomy(c, p)
	})
	tools.Perplexity(quantizetest.Slow)
	ended := make(chan error, 1)
	go func() {
		_, _, err := r.quantize(t.Context(), quantizeRequest(t))
		ended <- err
	}()
	until(t, "it runs", func() bool { j := r.agent.currentQuantizing(); return j != nil && j.child.Load() > 0 })
	begun := time.Now()
	if err := r.agent.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("it was ended after %v", took)
	}
	if err := <-ended; apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("what ran: %v", err)
	}
	if _, _, err := r.quantize(t.Context(), quantizeRequest(t)); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("another: %v", err)
	}
}
