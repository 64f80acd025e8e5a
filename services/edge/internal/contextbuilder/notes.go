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
	var packed, cut, merged []string
	for _, p := range n.fitted.passages {
		ids := p.chunks
		if ids == nil {
			ids = []string{p.hit.GetChunkId()}
		} else {
			merged = append(merged, strings.Join(ids, "+"))
		}
		packed = append(packed, ids...)
		if p.cut {
			cut = append(cut, ids...)
		}
	}
	list := func(name string, ids []string) {
		for _, text := range texts(ids) {
			add(name, text)
		}
	}
	list("packed_chunks", packed)
	list("merged_chunks", merged)
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

// maxTexts bounds how many attributes one list is told in.
const maxTexts = 4

// texts is a list of ids in as few texts as hold it, none of which an attribute would
// cut: an id is whole, or not there. Of what there is no room for it is said how many.
func texts(ids []string) []string {
	var out []string
	for i, id := range ids {
		last := len(out) - 1
		switch {
		case last >= 0 && len(out[last])+1+len(id) <= explain.MaxText-maxRest:
			out[last] += " " + id
		case last+1 < maxTexts && len(id) <= explain.MaxText-maxRest:
			out = append(out, id)
		default:
			rest := "and " + strconv.Itoa(len(ids)-i) + " more"
			if last < 0 {
				return []string{rest}
			}
			out[last] += " " + rest
			return out
		}
	}
	return out
}

// maxRest is kept free in each text, to say how many more there are.
const maxRest = len(" and 1000000 more")

func chunks(hits []*searchv1.Hit) []string {
	var out []string
	for _, h := range hits {
		out = append(out, h.GetChunkId())
	}
	return out
}
