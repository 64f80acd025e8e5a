package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/ireval"
)

// What an evaluation may ask of every query.
const (
	defaultEvalTopK = 100
	maxEvalTopK     = 1000
)

// evaluation is what `eval` was asked for.
type evaluation struct {
	data, collection, embeddingModel string
	modes, fusions                   []string
	legs                             legs
	arranged                         arrangement
	topK, limit                      int
	keep                             bool
}

func (a *app) evalCommand() *cobra.Command {
	var e evaluation
	cmd := &cobra.Command{
		Use:   "eval --data DIR",
		Short: "Measure how well searches rank, by queries whose answers are known",
		Long: `Writes documents.jsonl to a new collection, asks the queries of queries.jsonl,
and compares what is found with the judgements of qrels.tsv: nDCG of the first
ten documents, recall, and how long a search took as seen from here. The
collection is removed in the end, also after Ctrl-C.

documents.jsonl has an object with id, title and text a line, queries.jsonl one
with id and text, qrels.tsv the ids of query and document and a grade between
tabs. Queries without a relevant document are left out.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.check(); err != nil {
				return err
			}
			data, err := ireval.Read(e.data)
			if err != nil {
				return usageError{err}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.evaluate(cmd.Context(), c, e, data)
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.data, "data", "", "the directory of documents.jsonl, queries.jsonl and qrels.tsv")
	f.StringVar(&e.collection, "collection", "", "the new collection's id; one that is there already is searched as it is and stays; empty for an id made up")
	f.StringVar(&e.embeddingModel, "embedding-model", "", "the model whose vectors a new collection is searched by; empty for the default")
	f.StringSliceVar(&e.modes, "mode", []string{"hybrid", "lexical", "vector"}, "what is measured")
	f.StringSliceVar(&e.fusions, "fusion", nil, "how hybrid searches put their legs together, each measured: standardised, reciprocal_rank, min_max; empty for the collection's way")
	f.StringVar(&e.legs.weights, "weights", "", "what the legs count, LEXICAL:VECTOR, for example 1:2; empty for the collection's")
	e.arranged.bind(f)
	f.IntVar(&e.topK, "top-k", defaultEvalTopK, "how many passages are asked for, and the documents that recall looks at")
	f.IntVar(&e.limit, "limit", 0, "ask the first so many queries only; 0 for all")
	f.BoolVar(&e.keep, "keep", false, "leave the new collection there")
	return cmd
}

// check refuses what cannot be measured before anything is written.
func (e *evaluation) check() error {
	switch {
	case e.data == "":
		return usagef("--data is needed: the directory of documents.jsonl, queries.jsonl and qrels.tsv")
	case e.topK < 1 || e.topK > maxEvalTopK:
		return usagef("--top-k must be 1 to %d, got %d", maxEvalTopK, e.topK)
	case e.limit < 0:
		return usagef("--limit must be 0 or more, got %d", e.limit)
	}
	for flag, given := range map[string][]string{"mode": e.modes, "fusion": e.fusions} {
		known := map[string][]string{
			"mode": {"hybrid", "lexical", "vector"}, "fusion": {"standardised", "reciprocal_rank", "min_max"},
		}[flag]
		for i, v := range given {
			if !slices.Contains(known, v) {
				return usagef("--%s must be some of %s, got %q", flag, strings.Join(known, ", "), v)
			}
			if slices.Contains(given[:i], v) {
				return usagef("--%s names %s twice", flag, v)
			}
		}
	}
	if len(e.modes) == 0 {
		return usagef("--mode must name a mode")
	}
	return errors.Join(e.legs.into(map[string]any{}), e.arranged.into(map[string]any{}))
}

// runs are the bodies of the searches to measure, without their query.
func (e *evaluation) runs() ([]map[string]any, error) {
	var out []map[string]any
	for _, mode := range e.modes {
		fusions := []string{""}
		if mode == "hybrid" && len(e.fusions) > 0 {
			fusions = e.fusions
		}
		for _, fusion := range fusions {
			body := map[string]any{"mode": mode, "top_k": e.topK}
			if err := e.arranged.into(body); err != nil {
				return nil, err
			}
			if mode == "hybrid" {
				if err := (&legs{fusion: fusion, weights: e.legs.weights}).into(body); err != nil {
					return nil, err
				}
			}
			out = append(out, body)
		}
	}
	return out, nil
}

// queries are those that are asked: with a relevant document, and at most limit.
func (e *evaluation) queries(data ireval.Data) ([]ireval.Query, error) {
	var out []ireval.Query
	for _, q := range data.Queries {
		if data.Grades[q.ID].Relevant() > 0 && (e.limit == 0 || len(out) < e.limit) {
			out = append(out, q)
		}
	}
	if len(out) == 0 {
		return nil, usagef("%s: no query has a relevant document in qrels.tsv", e.data)
	}
	return out, nil
}

func rawDocuments(documents []ireval.Document) ([]json.RawMessage, error) {
	out := make([]json.RawMessage, len(documents))
	for i, d := range documents {
		raw, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("document %q: %w", d.ID, err)
		}
		out[i] = raw
	}
	return out, nil
}

// collectionID is an id that no collection has.
func collectionID() string { return "eval-" + ids.UUIDv7().New() }
