package search_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// TestACollectionIsDeletedByWhoMayDeleteAllOfIt has somebody who may write
// documents try to delete those that they may not read.
func TestACollectionIsDeletedByWhoMayDeleteAllOfIt(t *testing.T) {
	h := newHarness(t)
	ada, eve, root := h.as("ada"), h.as("eve"), h.admin("acme", "root")
	for _, id := range []string{"theirs", "mine"} {
		h.create(ada, id)
		h.put(eve, id, doc("open", "plan"))
	}
	h.put(ada, "theirs", withACL(doc("secret", "plan"), "user:ada"), withACL(doc("nobody", "plan")))
	h.put(eve, "mine", withACL(doc("own", "plan"), "user:eve"))
	remove := func(id string) *searchv1.DeleteCollectionRequest {
		return &searchv1.DeleteCollectionRequest{Collection: id}
	}
	_, err := h.client.DeleteCollection(eve, remove("theirs"))
	h.wantReason(err, apierr.PermissionDenied, "collection")
	for _, hint := range []string{"secret", "nobody", "1", "2", "3"} {
		if strings.Contains(apierr.From(err).Message, hint) {
			t.Errorf("the refusal tells of %q: %v", hint, err)
		}
	}
	if got := chunkIDs(h.search(ada, &searchv1.SearchRequest{Collection: "theirs", Query: "plan"})); got != "open#0 secret#0" {
		t.Errorf("after the refusal ada finds %q", got)
	}
	// Not even ada may: there is one that nobody reads.
	_, err = h.client.DeleteCollection(ada, remove("theirs"))
	h.wantReason(err, apierr.PermissionDenied, "collection")
	if _, err := h.client.DeleteCollection(eve, remove("mine")); err != nil {
		t.Error(err)
	}
	_, err = h.client.DeleteCollection(h.admin("globex", "root"), remove("theirs"))
	h.wantReason(err, apierr.NotFound, "collection")
	if _, err := h.client.DeleteCollection(root, remove("theirs")); err != nil {
		t.Error(err)
	}
}

// TestTenantsShareNoStatistics has another tenant fill a collection of the same
// name with the same words: neither scores nor what explains them change.
func TestTenantsShareNoStatistics(t *testing.T) {
	tenantsShareNoStatistics(newHarness(t))
}

func tenantsShareNoStatistics(h *harness) {
	acme, globex := h.of("acme", "ada"), h.of("globex", "ada")
	h.create(acme, "c")
	var docs []*searchv1.Document
	for i := range 20 {
		docs = append(docs, doc(fmt.Sprint("a", i), strings.Repeat("word ", 1+i%3)+strings.Repeat("other ", 1+i%5)+"rare"[:i%5]))
	}
	h.put(acme, "c", docs...)
	answers := func() (out []*searchv1.SearchResponse) {
		for _, mode := range []string{"lexical", "vector", "hybrid"} {
			resp := h.search(acme, &searchv1.SearchRequest{
				Collection: "c", Query: "word rare wird", Mode: mode, TopK: 100, Explain: true, Suggest: true,
				Facets: []*searchv1.FacetRequest{{Field: "team"}},
			})
			resp.TookMs, resp.ModelWork = 0, nil // the second time the query's vector is remembered
			out = append(out, resp)
		}
		got, err := h.client.GetCollection(acme, &searchv1.GetCollectionRequest{Collection: "c"})
		if err != nil || got.GetCollection().GetDocumentCount() != 20 {
			h.t.Errorf("%v, %v", got, err)
		}
		return out
	}
	before := answers()
	if before[0].GetHits()[0].GetExplanation().GetLegs()[0].GetScore() <= 0 {
		h.t.Errorf("nothing is compared: %v", before[0])
	}
	h.create(globex, "c")
	for round := range 3 {
		var theirs []*searchv1.Document
		for i := range 100 {
			d := doc(fmt.Sprint("a", i+100*round), strings.Repeat("word rare wird ", 1+i%9))
			theirs = append(theirs, withMetadata(h.t, withACL(d, "tenant:acme", "public", "user:ada"), map[string]any{"team": "theirs"}))
		}
		h.put(globex, "c", theirs...)
		for i, after := range answers() {
			if !proto.Equal(after, before[i]) {
				h.t.Fatalf("%v\nwas\n%v", after, before[i])
			}
		}
	}
}
