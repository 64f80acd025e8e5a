package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// fewPassages have no graph in our index.
const fewPassages = 20_000

// ingestBeside compares what one node takes in by its bulk API alone and through
// the service: all passages of the corpus into the kind of index that ours is by
// then, and, as a piece of information, few into one without a graph. The index
// by hand stays for the questions.
func ingestBeside(ctx context.Context, c *corpus, es *node) ([]Row, error) {
	what := "Elasticsearch: passages taken in a second through the service, against its bulk API alone, "
	few, err := es.beside(ctx, c, "flat", fewPassages, 2)
	if err != nil {
		return nil, err
	}
	all, err := es.beside(ctx, c, "int8_hnsw", c.n, 1)
	if err != nil {
		return nil, err
	}
	return []Row{
		{
			What:     fmt.Sprintf("%s%d by a graph", what, c.n),
			Measured: all.String(), Bar: "≥ 0.8 ×", Holds: all.ratio() >= 0.8,
		},
		told(fmt.Sprintf("%s%d one by one", what, fewPassages), few.String()),
	}, nil
}

// rates are passages a second.
type rates struct{ alone, through float64 }

func (r rates) ratio() float64 { return r.through / r.alone }

func (r rates) String() string {
	return fmt.Sprintf("%.2f × (%.0f and %.0f)", r.ratio(), r.through, r.alone)
}

// beside writes n passages by hand and through the service, in turns.
func (n *node) beside(ctx context.Context, c *corpus, vectors string, passages, rounds int) (rates, error) {
	var alone, through []float64
	for round := range rounds {
		if round > 0 {
			if err := n.remove(ctx, rawIndex); err != nil {
				return rates{}, err
			}
		}
		took, err := n.ingest(ctx, c, rawIndex, vectors, passages)
		if err != nil {
			return rates{}, err
		}
		alone = append(alone, float64(passages)/took.Seconds())
		rate, err := ingestThrough(ctx, c, n, passages)
		if err != nil {
			return rates{}, err
		}
		through = append(through, rate)
	}
	if passages < c.n {
		if err := n.remove(ctx, rawIndex); err != nil {
			return rates{}, err
		}
	}
	return rates{alone: middle(alone), through: middle(through)}, nil
}

func (n *node) remove(ctx context.Context, name string) error {
	return n.call(ctx, http.MethodDelete, "/"+name, nil, nil)
}

func ingestThrough(ctx context.Context, c *corpus, es *node, passages int) (rate float64, err error) {
	ours, err := openSearch(ctx, c, fmt.Sprintf(`{kind: elasticsearch, elasticsearch: {addresses: [%q]}}`, es.url))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	took, err := ours.ingest(ctx, passages)
	if err != nil {
		return 0, err
	}
	// What is measured next finds the node without it.
	_, err = ours.client.DeleteCollection(asReader(ctx), &searchv1.DeleteCollectionRequest{Collection: collection})
	return float64(passages) / took.Seconds(), err
}
