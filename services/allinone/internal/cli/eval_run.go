package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ireval"
)

const (
	// evalBatch documents are embedded in one call, also by a slow machine.
	evalBatch = 25
	// evalBatchAgain is the same for those that could not be embedded in time.
	evalBatchAgain = 5
	// failuresShown bounds what is told of documents that were not taken.
	failuresShown = 20
	// evalTries is how often a call is made that the gateway has no room for.
	evalTries = 5
)

// evaluator measures on one collection.
type evaluator struct {
	app        *app
	client     *client
	progress   *progress
	collection string
	topK       int
}

// evaluate measures what was asked for. A collection that it made is removed in
// the end, whatever happens.
func (a *app) evaluate(ctx context.Context, c *client, e evaluation, data ireval.Data) (err error) {
	queries, err := e.queries(data)
	if err != nil {
		return err
	}
	runs, err := e.runs()
	if err != nil {
		return err
	}
	v := &evaluator{app: a, client: c, progress: a.newProgress(), collection: firstOf(e.collection, collectionID()), topK: e.topK}
	defer v.progress.end()
	v.tellGaps(data.Gaps())
	made, err := v.create(ctx, e.embeddingModel)
	if err != nil {
		return err
	}
	if made {
		if !e.keep {
			defer func() { err = errors.Join(err, v.remove(ctx)) }()
		}
		if err := v.write(ctx, data.Documents); err != nil {
			return err
		}
	}
	var rows []any
	degraded := 0
	for _, run := range runs {
		m, err := v.measure(ctx, run, queries, data.Grades)
		if err != nil {
			return err
		}
		rows = append(rows, m.row(run, e.topK))
		degraded += m.degraded
	}
	v.progress.end()
	cols := columns("MODE mode", "FUSION fusion", "QUERIES queries", "NDCG@10 ndcg_at_10",
		fmt.Sprintf("RECALL@%d recall", e.topK), "P50_MS p50_ms", "P99_MS p99_ms", "DEGRADED degraded")
	if err := a.print(rows, cols); err != nil {
		return err
	}
	if degraded > 0 {
		return fmt.Errorf("%d searches were not answered in their mode, so the figures are not of it", degraded)
	}
	return nil
}

// gapsNamed is how many ids are named of what does not fit together.
const gapsNamed = 5

// tellGaps says what of the data does not fit together, as it is measured.
func (v *evaluator) tellGaps(g ireval.Gaps) {
	for _, gap := range []struct {
		ids       []string
		one, many string
	}{
		{
			g.Documents, "document is judged in qrels.tsv and not in documents.jsonl: it cannot be found, which lowers the figures",
			"documents are judged in qrels.tsv and not in documents.jsonl: they cannot be found, which lowers the figures",
		},
		{
			g.Queries, "query is judged in qrels.tsv and not in queries.jsonl: it is not asked",
			"queries are judged in qrels.tsv and not in queries.jsonl: they are not asked",
		},
		{
			g.Unjudged, "query has no relevant document in qrels.tsv: it is left out",
			"queries have no relevant document in qrels.tsv: they are left out",
		},
	} {
		n := len(gap.ids)
		if n == 0 {
			continue
		}
		what, more := gap.many, ""
		if n == 1 {
			what = gap.one
		}
		if n > gapsNamed {
			more = ", …"
		}
		v.progress.line(fmt.Sprintf("%d %s (%s%s)", n, what, strings.Join(gap.ids[:min(n, gapsNamed)], ", "), more))
	}
}

// create makes the collection, and says whether it did: one that is there
// already is somebody's, and stays as it is. It is not given up half-way, so
// that it is known what there is to remove.
func (v *evaluator) create(ctx context.Context, embeddingModel string) (made bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	body := map[string]any{"id": v.collection, "display_name": "evaluation", "embedding_model": embeddingModel}
	err = v.client.call(context.WithoutCancel(ctx), http.MethodPost, collectionsPath, body, nil)
	if e, ok := errors.AsType[*apiError](err); ok && e.Status == http.StatusConflict {
		v.progress.line("collection " + v.collection + " is there already: it is searched as it is")
		return false, nil
	}
	return err == nil, err
}

func (v *evaluator) remove(ctx context.Context) error {
	v.progress.line("removing collection " + v.collection)
	err := v.client.call(context.WithoutCancel(ctx), http.MethodDelete, joinPath(collectionsPath, v.collection), nil, nil)
	if err != nil {
		return fmt.Errorf("collection %s was not removed: %w", v.collection, err)
	}
	return nil
}

// write writes the documents. Those that are refused are told of and left out:
// a search that misses them is measured by what it misses.
func (v *evaluator) write(ctx context.Context, documents []ireval.Document) error {
	raw, err := rawDocuments(documents)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("writing %d documents to collection %s", len(raw), v.collection)
	v.progress.show(name, 0)
	failed, size := 0, evalBatch
	for try := 1; len(raw) > 0; try++ {
		var again []json.RawMessage
		done := 0
		err := v.client.writeDocuments(ctx, v.collection, raw, size, v.patiently, func(results []any) {
			for _, r := range results {
				if done++; lookup(r, "status") != "failed" {
					continue
				}
				if try < evalTries && passes(cell(lookup(r, "error.code"))) {
					again = append(again, raw[done-1])
					continue
				}
				if failed++; failed <= failuresShown {
					v.progress.line(fmt.Sprintf("document %s: %s", cell(lookup(r, "id")), cell(lookup(r, "error.message"))))
				}
			}
			v.progress.show(name, 100*float64(len(documents)-len(raw)+done-len(again))/float64(len(documents)))
		})
		if err != nil {
			return err
		}
		if len(again) > 0 {
			v.progress.line(fmt.Sprintf("%d documents are written again: they could not be embedded now", len(again)))
		}
		raw, size = again, evalBatchAgain
	}
	if failed > 0 {
		v.progress.line(fmt.Sprintf("%d of %d documents were refused", failed, len(documents)))
	}
	if failed == len(documents) {
		return errors.New("there is nothing to search in")
	}
	return nil
}

// passes reports whether what a document failed for may be over a little later:
// the embedding model was away, or had too much to do.
func passes(code string) bool {
	return slices.Contains([]string{string(apierr.Unavailable), string(apierr.Overloaded), string(apierr.DeadlineExceeded)}, code)
}

// patiently makes a call again while the gateway has no room for it.
func (v *evaluator) patiently(ctx context.Context, call func() error) error {
	for try := 1; ; try++ {
		err := call()
		e, ok := errors.AsType[*apiError](err)
		if !ok || try == evalTries || (e.Status != http.StatusTooManyRequests && e.Status != http.StatusServiceUnavailable) {
			return err
		}
		if err := clock.Sleep(ctx, v.app.clock, max(e.RetryAfter, time.Second)); err != nil {
			return err
		}
	}
}
