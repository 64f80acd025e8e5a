package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

func dot(a, b []float32) float32 {
	var sum float32
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

func unit(v []float32) []float32 {
	length := float32(math.Sqrt(float64(dot(v, v))))
	for i := range v {
		v[i] /= length
	}
	return v
}

// knownVectors stands in for the inference service: it knows the vectors of a
// corpus and answers at once, so that what is measured is search.
type knownVectors struct {
	inferencev1.UnimplementedInferenceServiceServer
	corpus *corpus
	stop   func() error
}

func (k *knownVectors) Embed(_ context.Context, req *inferencev1.EmbedRequest) (*inferencev1.EmbedResponse, error) {
	resp := &inferencev1.EmbedResponse{ServedBy: &inferencev1.ServedBy{Model: "sim", Digest: "sha256:" + strings.Repeat("1", 64)}}
	for _, in := range req.GetInputs() {
		v := k.corpus.vectorOf(in.GetText())
		if v == nil {
			return nil, apierr.New(apierr.InvalidArgument, "no text of the corpus")
		}
		resp.Embeddings = append(resp.Embeddings, &workerv1.Embedding{Values: v})
	}
	return resp, nil
}

func (k *knownVectors) GetServedModel(context.Context, *inferencev1.GetServedModelRequest) (*inferencev1.GetServedModelResponse, error) {
	return &inferencev1.GetServedModelResponse{Model: &inferencev1.ServedModel{Name: "sim", Task: commonv1.Task_TASK_EMBEDDING}}, nil
}

// serveVectors serves them at addr until stop is called.
func serveVectors(ctx context.Context, addr string, c *corpus) (*knownVectors, error) {
	k := &knownVectors{corpus: c}
	server, err := grpcserver.New(grpcserver.DefaultConfig(addr), telemetry.Discard(), //nolint:contextcheck // it does nothing
		grpcserver.Chain{grpcserver.Errors(), identity.Server(identity.Plain(), func(string) bool { return false })}, //nolint:contextcheck // its steps get each call's context
		func(r grpc.ServiceRegistrar) { inferencev1.RegisterInferenceServiceServer(r, k) })
	if err != nil {
		return nil, fmt.Errorf("serve vectors: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- lifecycle.Run(ctx, lifecycle.Options{}, server.Component()) }()
	k.stop = func() error {
		cancel()
		return errors.Join(<-ended)
	}
	return k, nil
}
