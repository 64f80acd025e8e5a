package search_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// What collections and writes tell of documents that the caller may not read,
// compared with the oracle.

// counts compares what the collection says, alone and in the list.
func (w *world) counts(c caller, _ question) string {
	got, err := w.h.client.GetCollection(c.ctx, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil {
		return err.Error()
	}
	list, err := w.h.client.ListCollections(c.ctx, &searchv1.ListCollectionsRequest{})
	if err != nil || len(list.GetCollections()) != 1 || !proto.Equal(list.GetCollections()[0], got.GetCollection()) {
		return fmt.Sprintf("listed %v, %v, got %v", list, err, got)
	}
	if wrong := sameCounts(got.GetCollection(), c.readable); wrong != "" {
		return wrong
	}
	root := w.h.admin(c.tenant, "root")
	got, err = w.h.client.GetCollection(root, &searchv1.GetCollectionRequest{Collection: "c"})
	if err != nil {
		return err.Error()
	}
	if wrong := sameCounts(got.GetCollection(), slices.Concat(c.readable, c.hidden)); wrong != "" {
		return "the administrator: " + wrong
	}
	return ""
}

func sameCounts(got *searchv1.Collection, want []*record) string {
	passages := 0
	for _, r := range want {
		passages += len(r.passages())
	}
	if int(got.GetDocumentCount()) != len(want) || int(got.GetChunkCount()) != passages {
		return fmt.Sprintf("counts %d documents and %d passages, want %d and %d", got.GetDocumentCount(), got.GetChunkCount(), len(want), passages)
	}
	return ""
}

// writes tries to change what is hidden. Removal says what it says of an id that
// there is not; a write has to say that the id is taken, the same whatever is
// written and however, and changes nothing.
func (w *world) writes(c caller, _ question) string {
	if len(c.hidden) == 0 {
		return ""
	}
	r := c.hidden[w.rng.IntN(len(c.hidden))]
	_, err := w.h.client.DeleteDocument(c.ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: r.id})
	_, none := w.h.client.DeleteDocument(c.ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "none"})
	if err == nil || strings.ReplaceAll(err.Error(), r.id, "none") != none.Error() || apierr.ReasonOf(err) != apierr.NotFound {
		return fmt.Sprintf("the removal of %s is refused by %v, and of what is not there by %v", r.id, err, none)
	}
	docs := []*searchv1.Document{r.document(), doc(r.id, "other words"), withACL(doc(r.id, "other words"), "public")}
	var told []string
	for _, d := range docs {
		batch, err := w.h.client.BatchUpsertDocuments(c.ctx, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: []*searchv1.Document{d}})
		if err != nil || len(batch.GetResults()) != 1 {
			return fmt.Sprintf("%v, %v", batch, err)
		}
		result := batch.GetResults()[0]
		told = append(told, fmt.Sprint(result.GetStatus(), result.GetChunkCount(), result.GetError().GetCode(), result.GetError().GetMessage()))
	}
	call := w.h.startImport(c.ctx, &searchv1.ImportDocumentsRequest{Collection: "c"})
	if err := errors.Join(call.Send(lines(docs[1])), call.CloseSend()); err != nil {
		return err.Error()
	}
	verdicts, _, err := rest(call)
	if err != nil || len(verdicts) != 1 {
		return fmt.Sprintf("imported: %v, %v", verdicts, err)
	}
	told = append(told, fmt.Sprint(verdicts[0].GetStatus(), verdicts[0].GetChunkCount(), verdicts[0].GetError().GetCode(), verdicts[0].GetError().GetMessage()))
	for _, t := range told {
		t = strings.Replace(t, "documents[0].", "", 1) // only a batch numbers them
		if t != strings.Replace(told[0], "documents[0].", "", 1) || !strings.HasPrefix(t, "failed0"+string(apierr.PermissionDenied)) {
			return fmt.Sprintf("the write of %s is answered by %q and %q", r.id, t, told[0])
		}
	}
	_, err = w.h.client.DeleteCollection(c.ctx, &searchv1.DeleteCollectionRequest{Collection: "c"})
	if e := apierr.From(err); e.Reason != apierr.PermissionDenied || strings.ContainsAny(e.Message, "0123456789") || strings.Contains(e.Message, r.id) {
		return fmt.Sprintf("the removal of the collection: %v", err)
	}
	return "" // that nothing has changed is what every other path holds
}

// explains recomputes the scores of a hybrid search from those of its legs. What
// is hidden has no part in the scale of a leg.
func (w *world) explains(c caller, q question) string {
	resp, err := w.h.client.Search(c.ctx, &searchv1.SearchRequest{
		Collection: "c", Query: q.String(), Filter: q.filter, TopK: 1000, Explain: true,
	})
	if err != nil {
		return err.Error()
	}
	scores, ranks := make(map[string][]float64), make(map[string][]int)
	for _, hit := range resp.GetHits() {
		for _, leg := range hit.GetExplanation().GetLegs() {
			if leg.GetRank() > 0 {
				scores[leg.GetLeg()] = append(scores[leg.GetLeg()], leg.GetScore())
				ranks[leg.GetLeg()] = append(ranks[leg.GetLeg()], int(leg.GetRank()))
			}
		}
	}
	for leg, got := range ranks {
		slices.Sort(got)
		for i, rank := range got {
			if rank != i+1 {
				return fmt.Sprintf("%s: the ranks have a hole: %v", leg, got)
			}
		}
	}
	for _, hit := range resp.GetHits() {
		for _, leg := range hit.GetExplanation().GetLegs() {
			of := scores[leg.GetLeg()]
			score := leg.GetScore()
			if leg.GetRank() == 0 && len(of) > 0 {
				score = slices.Min(of)
			}
			if want := standardScore(score, of); math.Abs(leg.GetNormalizedScore()-want) > 1e-6 {
				return fmt.Sprintf("%s: %v, want %v of %v", hit.GetChunkId(), leg, want, of)
			}
		}
	}
	return ""
}

// standardScore is a score on the scale of a leg's hundred best.
func standardScore(score float64, of []float64) float64 {
	of = slices.Clone(of)
	slices.SortFunc(of, func(a, b float64) int { return cmp.Compare(b, a) })
	of = of[:min(len(of), 100)]
	var mean, deviation float64
	for _, s := range of {
		mean += s / float64(len(of))
	}
	for _, s := range of {
		deviation += (s - mean) * (s - mean) / float64(len(of))
	}
	if deviation = math.Sqrt(deviation); deviation < 1e-9 {
		return 0
	}
	return (score - mean) / deviation
}

// turnsPagesMeanwhile turns pages while documents are written, given to others
// and removed: each shows what may be read then, and none that stayed is missed.
func (w *world) turnsPagesMeanwhile(c caller, q question) string {
	mode := w.pick([]string{"lexical", "vector", "hybrid"})
	req := &searchv1.SearchRequest{Collection: "c", Query: q.String(), Filter: q.filter, Mode: mode, TopK: 3, Deduplicate: w.rng.IntN(2) == 0}
	stayed := make(map[string]*record)
	for _, f := range expected(c.readable, q, mode == "lexical") {
		stayed[f.record.id] = f.record
	}
	shown := make(map[string]bool)
	for {
		resp, err := w.h.client.Search(c.ctx, req)
		if err != nil {
			return err.Error()
		}
		for _, hit := range resp.GetHits() {
			r := w.docs[c.tenant][hit.GetDocumentId()]
			if r == nil || !r.readable(c.tenant, c.principals) || !slices.Contains(r.passages(), hit.GetText()) {
				return fmt.Sprintf("%s: %s is shown with %q, and it is %+v", mode, hit.GetChunkId(), hit.GetText(), r)
			}
			for _, id := range append(hit.GetNearDuplicates().GetDocumentIds(), hit.GetDocumentId()) {
				if r := w.docs[c.tenant][id]; r != nil && !r.readable(c.tenant, c.principals) {
					return fmt.Sprintf("%s: %s tells of %s", mode, hit.GetChunkId(), id)
				}
				shown[id] = true
			}
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.GetNextPageToken()
		w.change()
	}
	for id, r := range stayed {
		if w.docs[c.tenant][id] == r && !shown[id] {
			return fmt.Sprintf("%s: %s is missed", mode, id)
		}
	}
	return ""
}
