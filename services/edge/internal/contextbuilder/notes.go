package contextbuilder

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// What came of a retrieval.
const (
	outcomePacked   = "packed"
	outcomeEmpty    = "empty"     // there is nothing to pack, which the prompt says
	outcomeNotFound = "not-found" // and no model is asked
	outcomeNoRoom   = "no-room"
)

// notes is what is told of a retrieval to who asks why: counts and ids, never texts.
type notes struct {
	start  time.Time
	clock  clock.Clock
	ask    *searchv1.SearchRequest
	found  *searchv1.SearchResponse
	chosen choice
	window window
	order  string
	fitted fitted
}

func (n *notes) decide(ctx context.Context, outcome string) {
	record := audit.From(ctx)
	if record == nil {
		return
	}
	if outcome == outcomePacked && len(n.fitted.passages) == 0 {
		outcome = outcomeEmpty
	}
	d := explain.Decision{Step: explain.Retrieval, Outcome: outcome, Start: n.start, Duration: n.clock.Now().Sub(n.start), Detail: strings.Join(n.found.GetWarnings(), "; ")}
	add := func(name, value string) {
		if value != "" {
			d.Attributes = append(d.Attributes, explain.Attribute{Name: name, Value: value})
		}
	}
	number := func(name string, v int) {
		if v > 0 {
			add(name, strconv.Itoa(v))
		}
	}
	add("collection", n.ask.GetCollection())
	add("generation", strconv.FormatInt(n.found.GetGeneration(), 10))
	add("mode", n.found.GetMode())
	add("reranked_by", n.found.GetRerankedBy())
	add("order", n.order)
	add("found", strconv.Itoa(len(n.found.GetHits())))
	number("context_length", n.window.length)
	number("prompt_room", n.window.prompt)
	number("prompt_tokens", n.fitted.tokens)
	add("sized_by", n.fitted.by)
	number("passage_bytes", len(n.fitted.block))
	add("packed", strconv.Itoa(len(n.fitted.passages)))
	var packed, cut []string
	for _, p := range n.fitted.passages {
		ids := p.chunks
		if ids == nil {
			ids = []string{p.hit.GetChunkId()}
		}
		packed = append(packed, ids...)
		if p.cut {
			cut = append(cut, ids...)
		}
	}
	list := func(name string, ids []string) { add(name, strings.Join(ids, " ")) }
	list("packed_chunks", packed)
	list("cut_chunks", cut)
	list("dropped_no_room", chunks(n.fitted.left))
	list("dropped_below_threshold", chunks(n.chosen.unlike))
	list("dropped_by_detector", chunks(n.chosen.blocked))
	repeated := 0
	var documents []string
	for _, h := range n.found.GetHits() {
		repeated += int(h.GetNearDuplicates().GetCount())
		documents = append(documents, h.GetNearDuplicates().GetDocumentIds()...)
	}
	number("dropped_duplicates", repeated)
	list("duplicates_of_documents", documents)
	record.Decide(d)
}

func chunks(hits []*searchv1.Hit) []string {
	var out []string
	for _, h := range hits {
		out = append(out, h.GetChunkId())
	}
	return out
}
