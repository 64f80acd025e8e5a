package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/poterne/poterne/e2e/process"
	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

const (
	rebuildPassages = 20_000
	rebuildRounds   = 5
)

// SearchRebuild measures readers while a collection is embedded anew at the
// default rate, against those without: rounds of the one and the other
// alternate, each with a new embedding generation. The model answers at once, so
// what readers share with the builder is the service and its database.
func SearchRebuild(ctx context.Context) (rows []Row, err error) {
	c := newCorpus(rebuildPassages, searchQuestions)
	node, err := openSearch(ctx, c, embeddedIndex)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, node.close()) }()
	if _, err := node.ingest(ctx, c.n); err != nil {
		return nil, err
	}
	var alone, beside []time.Duration
	embedded := 0
	for round := range rebuildRounds + 1 {
		without, err := node.readers(ctx)
		if err != nil {
			return nil, err
		}
		with, done, err := node.readersDuringRebuild(ctx)
		if err != nil {
			return nil, err
		}
		if round > 0 { // the first warms up
			alone, beside, embedded = append(alone, ninetyNinth(without)), append(beside, ninetyNinth(with)), embedded+done
		}
	}
	ratio := float64(middle(beside)) / float64(middle(alone))
	return []Row{
		{
			What:     "readers' p99 while everything is embedded anew, against that without (medians of rounds)",
			Measured: fmt.Sprintf("%.2f × (%v and %v)", ratio, middle(beside).Round(time.Microsecond), middle(alone).Round(time.Microsecond)),
			Bar:      "≤ 1.5 ×", Holds: ratio <= 1.5,
		},
		told("of it passages embedded anew meanwhile", fmt.Sprint(embedded)),
	}, nil
}

// readers asks the questions, one after another with a little time between, and
// returns what each took.
func (n *searchNode) readers(ctx context.Context) ([]time.Duration, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var out []time.Duration
	for range 2 {
		for _, q := range n.corpus.questions {
			_, took, err := n.ask(ctx, q.text, "hybrid", "", 10)
			if err != nil {
				return nil, err
			}
			out = append(out, took)
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return out, nil
}

// readersDuringRebuild is readers while an embedding generation is built, of
// which so many documents were done.
func (n *searchNode) readersDuringRebuild(ctx context.Context) (out []time.Duration, done int, err error) {
	admin := identity.NewContext(ctx, identity.Caller{Tenant: "acme", Subject: "root", Roles: []string{"admin"}, Principals: []string{"user:root"}})
	serve := false
	made, err := n.client.CreateEmbeddingGeneration(admin, &searchv1.CreateEmbeddingGenerationRequest{Collection: collection, ServeWhenReady: &serve})
	if err != nil {
		return nil, 0, err
	}
	number := made.GetEmbeddingGeneration().GetNumber()
	if out, err = n.readers(ctx); err != nil {
		return nil, 0, err
	}
	got, err := n.client.GetEmbeddingGeneration(admin, &searchv1.GetEmbeddingGenerationRequest{Collection: collection, Number: number})
	if err != nil {
		return nil, 0, err
	}
	if got.GetEmbeddingGeneration().GetState() != "building" {
		return nil, 0, fmt.Errorf("the embedding generation is %s: %s", got.GetEmbeddingGeneration().GetState(), got.GetEmbeddingGeneration().GetReason())
	}
	if _, err := n.client.DeleteEmbeddingGeneration(admin, &searchv1.DeleteEmbeddingGenerationRequest{Collection: collection, Number: number}); err != nil {
		return nil, 0, err
	}
	// What is being removed is not to meet the readers without one.
	err = process.Poll(ctx, func(ctx context.Context) error {
		_, err := n.client.GetEmbeddingGeneration(admin, &searchv1.GetEmbeddingGenerationRequest{Collection: collection, Number: number})
		if apierr.ReasonOf(err) == apierr.NotFound {
			return nil
		}
		return errors.Join(errors.New("it is still there"), err)
	})
	return out, int(got.GetEmbeddingGeneration().GetDocumentsDone()), err
}
