package inference_test

import (
	"context"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func TestRerank(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("r", 1, fakes.Reranking()), fakes.Model("m", 1))
	req := &inferencev1.RerankRequest{Model: "r", Query: "q", Documents: []string{"a", "bbb"}}
	resp, err := m.client.Rerank(caller(t), req)
	if err != nil || !slices.Equal(resp.GetRelevanceScores(), []float64{1, 3}) || resp.GetServedBy().GetModel() != "r" {
		t.Errorf("the answer is %v, %v", resp, err)
	}
	_, err = m.client.Rerank(caller(t), &inferencev1.RerankRequest{Model: "m", Query: "q", Documents: []string{"a"}})
	wantReason(t, err, apierr.InvalidArgument, "model")
	_, err = m.client.Invoke(caller(t), chat("r", `{}`))
	wantReason(t, err, apierr.InvalidArgument, "model")
	for field, bad := range map[string]*inferencev1.RerankRequest{
		"documents": {Model: "r", Query: "q"}, "query": {Model: "r", Documents: []string{"a"}}, "model": {Query: "q", Documents: []string{"a"}},
	} {
		_, err = m.client.Rerank(caller(t), bad)
		wantReason(t, err, apierr.InvalidArgument, field)
	}
}

func TestRerankRefusesAnAnswerThatMissesADocument(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("r", 1, fakes.Reranking()))
	m.workers[0].OnRerank = func(context.Context, *workerv1.RerankRequest) (*workerv1.RerankResponse, error) {
		return &workerv1.RerankResponse{RelevanceScores: []float64{1}}, nil
	}
	_, err := m.client.Rerank(caller(t), &inferencev1.RerankRequest{Model: "r", Query: "q", Documents: []string{"a", "b"}})
	wantReason(t, err, apierr.EngineFailed, "")
}
