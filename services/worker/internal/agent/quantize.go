package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"path"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/engine"
	"github.com/poterne/poterne/services/worker/internal/quantize"
)

// quantizeEvery is the longest time between two events of a quantisation.
const quantizeEvery = 500 * time.Millisecond

// Quantize makes smaller weights of a version by the engine's own program, and
// measures both on a text. The same call again is answered from what was made.
func (a *Agent) Quantize(req *workerv1.QuantizeRequest, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse]) (err error) {
	ctx := stream.Context()
	defer func() { a.metrics.quantized(ctx, err) }()
	order, err := a.orderOf(ctx, req)
	if err != nil {
		return err
	}
	j := newQuantizing(ctx)
	return j.follow(a.parts.Clock, stream, func() (*workerv1.QuantizeResult, error) { return a.work(j, req, order) })
}

// follow does the work, and tells the caller where it is until it is done.
func (j *quantizing) follow(c clock.Clock, stream grpc.ServerStreamingServer[workerv1.QuantizeResponse], work func() (*workerv1.QuantizeResult, error)) error {
	defer j.cancel(nil)
	type outcome struct {
		result *workerv1.QuantizeResult
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		// This goroutine is outside the step that recovers.
		defer func() {
			if p := recover(); p != nil {
				o.err = apierr.Wrap(apierr.Internal, fmt.Errorf("panic: %v", p), "the weights could not be quantised")
			}
			done <- o
		}()
		o.result, o.err = work()
	}()
	ticker := c.NewTicker(quantizeEvery)
	defer ticker.Stop()
	for {
		select {
		case o := <-done:
			if o.err != nil {
				return o.err
			}
			return stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Result{Result: o.result}})
		case <-j.changed:
		case <-ticker.C():
		}
		if err := stream.Send(&workerv1.QuantizeResponse{Event: &workerv1.QuantizeResponse_Progress{Progress: j.progress()}}); err != nil {
			j.cancel(err)
			<-done // nothing of it may run on
			return err
		}
	}
}

// work answers from what was made before, which waits for nobody, or has its turn.
func (a *Agent) work(j *quantizing, req *workerv1.QuantizeRequest, order *quantize.Order) (*workerv1.QuantizeResult, error) {
	spec, ok := proto.Clone(req.GetSpec()).(*commonv1.ModelSpec)
	if !ok {
		return nil, apierr.Invalid("spec", "spec is missing")
	}
	at, err := weightsIndex(spec)
	if err != nil {
		return nil, err
	}
	order.Source.SHA256 = spec.GetArtifacts()[at].GetSha256()
	made, ok := a.parts.Maker.Recorded(j.ctx, *order)
	if !ok {
		end, err := a.parts.Maker.Begin()
		if err != nil {
			return nil, err
		}
		defer end()
		if err := a.beginQuantizing(j); err != nil {
			return nil, err
		}
		defer a.endQuantizing(j)
		if made, err = a.quantize(j.ctx, j, req, spec.GetArtifacts()[at], order); err != nil {
			return nil, err
		}
	}
	spec.Artifacts[at] = &commonv1.Artifact{
		Uri: (&url.URL{Scheme: "file", Path: made.Path}).String(), Sha256: made.SHA256, SizeBytes: made.Size, Role: engine.RoleWeights,
		Name: path.Base(made.Path),
	}
	return &workerv1.QuantizeResult{
		Spec: spec, SizeBytes: made.Size, SourceSizeBytes: made.SourceSize, Quantizer: made.Quantizer,
		Perplexity: perplexityOf(made.Perplexity), SourcePerplexity: perplexityOf(made.Source),
		TextSha256: made.TextSHA256, Window: int32(made.Window),
	}, nil
}

// orderOf checks what can be checked of a request before its files are here.
func (a *Agent) orderOf(ctx context.Context, req *workerv1.QuantizeRequest) (*quantize.Order, error) {
	switch {
	case a.parts.Maker == nil:
		return nil, apierr.New(apierr.FailedPrecondition, "this worker has no quantiser")
	case req.GetSpec().GetEngine() != engine.KindLlamaServer:
		return nil, apierr.Invalid("spec.engine", "only weights of engine %s are quantised here, not of %q", engine.KindLlamaServer, req.GetSpec().GetEngine())
	case len(req.GetText()) > 0 && !generates(req.GetSpec().GetTask()):
		return nil, apierr.Invalid("text", "perplexity is of models that generate text: leave out the text")
	}
	if _, err := weightsIndex(req.GetSpec()); err != nil {
		return nil, err
	}
	order := &quantize.Order{
		Type: req.GetType(), Text: req.GetText(), Window: int(req.GetWindow()),
		AllowRequantize: req.GetAllowRequantize(), Threads: int(req.GetThreads()),
	}
	return order, a.parts.Maker.Check(ctx, order)
}

// generates reports whether models of the task generate text.
func generates(t commonv1.Task) bool {
	return t != commonv1.Task_TASK_EMBEDDING && t != commonv1.Task_TASK_RERANK
}

// weightsIndex returns which artifact is the weights.
func weightsIndex(spec *commonv1.ModelSpec) (int, error) {
	found := -1
	for i, art := range spec.GetArtifacts() {
		if role := art.GetRole(); role != "" && role != engine.RoleWeights {
			continue
		}
		if found >= 0 {
			return 0, apierr.Invalid("spec.artifacts", "weights in several files are not quantised: join them into one GGUF file first (llama-gguf-split --merge)")
		}
		found = i
	}
	if found < 0 {
		return 0, apierr.Invalid("spec.artifacts", "there is no artifact with the weights")
	}
	return found, nil
}

// quantize fetches the weights if they are missing, and makes others of them.
func (a *Agent) quantize(ctx context.Context, j *quantizing, req *workerv1.QuantizeRequest, weights *commonv1.Artifact, order *quantize.Order) (quantize.Result, error) {
	// Of its own name, so that the version itself can be loaded meanwhile.
	files, err := a.parts.Artifacts.Hold("quantize"+strings.TrimPrefix(req.GetDigest(), "sha256:"), []*commonv1.Artifact{weights})
	if err != nil {
		return quantize.Result{}, err
	}
	defer files.Release()
	j.fetches(files)
	if err := files.Ensure(ctx); err != nil {
		return quantize.Result{}, err
	}
	j.fetches(nil)
	file := fileOf(weights, files.Paths()[0])
	order.Source = quantize.Source{Path: file.Path, Name: file.Name, SHA256: file.SHA256}
	order.Progress, order.Started = j.report, j.started
	order.Admit = func(bytes int64) error { return a.reserveFor(ctx, j, req.GetName(), bytes) }
	a.log.InfoContext(ctx, "weights are being quantised", slog.String(keyModel, req.GetName()), slog.String(keyDigest, req.GetDigest()), slog.String(keyType, req.GetType()))
	made, err := a.parts.Maker.Make(ctx, *order)
	if err != nil {
		return quantize.Result{}, err
	}
	a.log.InfoContext(ctx, "weights were quantised", slog.String(keyModel, req.GetName()), slog.String(keyDigest, req.GetDigest()), slog.String(keyType, req.GetType()),
		slog.Int64("size_bytes", made.Size), slog.Int64("source_size_bytes", made.SourceSize))
	return made, nil
}

func perplexityOf(p *quantize.Perplexity) *workerv1.Perplexity {
	if p == nil {
		return nil
	}
	return &workerv1.Perplexity{Value: p.Value, Error: p.Error, Tokens: p.Tokens}
}

// quantizers is what the state tells of what can be made here.
func (a *Agent) quantizers() []*workerv1.Quantizer {
	if a.parts.Maker == nil {
		return nil
	}
	offer, known := a.parts.Maker.Known()
	if !known {
		return nil
	}
	return []*workerv1.Quantizer{{Engine: engine.KindLlamaServer, Types: offer.Types, Measures: offer.Measures}}
}
