package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SearchBeside runs the embedded index and an Elasticsearch node side by side,
// same passages, questions and k, one question to the one and then to the other:
// Elasticsearch by one _msearch with both legs over an int8_hnsw graph, as
// people build it by hand, and us through the service's whole answer. And it
// compares what the service on Elasticsearch takes in with what that node's bulk
// API does alone.
func SearchBeside(ctx context.Context) (rows []Row, err error) {
	c := newCorpus(searchPassages, searchQuestions)
	es, err := openNode(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, es.close()) }()
	if rows, err = ingestBeside(ctx, c, es); err != nil {
		return nil, err
	}
	ours, err := openSearch(ctx, c, embeddedIndex)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	took, err := ours.ingest(ctx, c.n)
	if err != nil {
		return nil, err
	}
	rows = append(rows, told("embedded beside it: passages taken in a second", fmt.Sprintf("%.0f", float64(c.n)/took.Seconds())))
	for _, kind := range []beside{
		// 3 ms and 9 ms where Elasticsearch, as ingested, takes 6.7 and 16.1: machines
		// differ, and what one takes of the other less so.
		{what: "hybrid, k 10 (of 100 candidates there)", k: 10, candidates: 100, most: 3 / 6.7},
		{what: "hybrid, k 100 (of 200 candidates there)", k: 100, candidates: 200, most: 9 / 16.1},
		{what: "hybrid, k 10, filtered to a tenth", k: 10, candidates: 100, most: 1, cut: 1, field: "every10"},
	} {
		some, err := kind.measure(ctx, ours, es)
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// beside is one kind of question to both.
type beside struct {
	what          string
	k, candidates int
	most          float64 // the bar: our p50 against Elasticsearch's
	cut           int     // which of cuts
	field         string  // the same there
}

func (b beside) measure(ctx context.Context, ours *searchNode, es *node) ([]Row, error) {
	var here, there []time.Duration
	var hereFound, thereFound float64
	questions := ours.corpus.questions
	for i, q := range questions {
		_, took, err := ours.ask(ctx, q.text, "hybrid", cuts()[b.cut].filter, b.k)
		if err != nil {
			return nil, err
		}
		here = append(here, took)
		found, took, err := es.ask(ctx, q, b.k, b.candidates, b.field)
		if err != nil {
			return nil, err
		}
		there = append(there, took)
		thereFound += share(found[:min(10, len(found))], q.near[b.cut]) / float64(len(questions))
		if found, _, err = ours.ask(ctx, q.text, "vector", cuts()[b.cut].filter, b.k); err != nil {
			return nil, err
		}
		hereFound += share(found[:min(10, len(found))], q.near[b.cut]) / float64(len(questions))
		if i == len(questions)/10 { // what was asked until then warmed up
			here, there = here[:0], there[:0]
		}
	}
	ratio := float64(middle(here)) / float64(middle(there))
	return []Row{
		{
			What: b.what + ": p50 against Elasticsearch's",
			Measured: fmt.Sprintf("%.2f × (%v and %v; p99 %v and %v)", ratio, middle(here).Round(time.Microsecond), middle(there).Round(time.Microsecond),
				ninetyNinth(here).Round(time.Microsecond), ninetyNinth(there).Round(time.Microsecond)),
			Bar: fmt.Sprintf("≤ %.2f ×", b.most), Holds: ratio <= b.most,
		},
		{
			What: b.what + ": recall@10 of the vector leg, ours and Elasticsearch's", Measured: fmt.Sprintf("%.4f and %.4f", hereFound, thereFound),
			Bar: "≥ its", Holds: hereFound >= thereFound,
		},
	}, nil
}
