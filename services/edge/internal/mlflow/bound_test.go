package mlflow

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// crowded is a registry of many models that counts what it is asked.
type crowded struct {
	registryv1.RegistryServiceClient
	calls int
}

func (c *crowded) ListModels(_ context.Context, req *registryv1.ListModelsRequest, _ ...grpc.CallOption) (*registryv1.ListModelsResponse, error) {
	c.calls++
	out := &registryv1.ListModelsResponse{NextPageToken: "more"}
	for i := range req.GetPageSize() {
		out.Models = append(out.Models, &registryv1.Model{Name: fmt.Sprintf("m%d", i)})
	}
	return out, nil
}

func (c *crowded) GetModel(_ context.Context, req *registryv1.GetModelRequest, _ ...grpc.CallOption) (*registryv1.GetModelResponse, error) {
	c.calls++
	return &registryv1.GetModelResponse{Model: &registryv1.Model{Name: req.GetModel()}}, nil
}

func (c *crowded) ListAliases(context.Context, *registryv1.ListAliasesRequest, ...grpc.CallOption) (*registryv1.ListAliasesResponse, error) {
	c.calls++
	return &registryv1.ListAliasesResponse{}, nil
}

func (c *crowded) ListVersions(context.Context, *registryv1.ListVersionsRequest, ...grpc.CallOption) (*registryv1.ListVersionsResponse, error) {
	c.calls++
	return &registryv1.ListVersionsResponse{}, nil
}

// One search, which counts as one request, is not thousands to the registry.
func TestOneSearchAsksForFewModels(t *testing.T) {
	r := &crowded{}
	resp, err := New(r).SearchRegisteredModels(t.Context(), &edgev1.SearchRegisteredModelsRequest{MaxResults: 1000})
	if err != nil || len(resp.GetRegisteredModels()) != modelResults || resp.GetNextPageToken() == "" {
		t.Errorf("%d models, next %q, %v", len(resp.GetRegisteredModels()), resp.GetNextPageToken(), err)
	}
	if r.calls > 1+4*modelResults {
		t.Errorf("the registry was asked %d times", r.calls)
	}
}
