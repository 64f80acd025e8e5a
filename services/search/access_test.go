package search_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// TestWhatMayNotBeReadLeavesNoHoles has two hundred better matches that a
// caller may not read: the page is full all the same.
func TestWhatMayNotBeReadLeavesNoHoles(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	var docs []*searchv1.Document
	for i := range 200 {
		docs = append(docs, withACL(doc(fmt.Sprintf("secret%03d", i), "salary salary salary"), "group:board"))
	}
	for i := range 30 {
		docs = append(docs, withACL(doc(fmt.Sprintf("open%03d", i), "the salary of somebody among many other words"), "group:staff", "user:zoe"))
	}
	h.put(ctx, "c", docs...)
	for _, mode := range []string{"hybrid", "lexical", "vector"} {
		for who, want := range map[string]struct {
			principals []string
			prefix     string
			count      int
		}{
			"zoe": {nil, "open", 20},
			"bob": {[]string{"group:staff"}, "open", 20},
			"kim": {[]string{"group:board"}, "secret", 20},
			"eve": {[]string{"group:boards", "user:ada2"}, "", 0},
		} {
			resp := h.search(h.as(who, want.principals...), &searchv1.SearchRequest{Collection: "c", Query: "salary", Mode: mode, TopK: 20})
			if len(resp.GetHits()) != want.count {
				t.Errorf("%s, %s: %d hits, want %d", mode, who, len(resp.GetHits()), want.count)
			}
			for _, hit := range resp.GetHits() {
				if !strings.HasPrefix(hit.GetDocumentId(), want.prefix) {
					t.Errorf("%s: %s finds %s", mode, who, hit.GetDocumentId())
				}
			}
		}
	}
}

func TestUnreadableDocumentsDoNotExist(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	h.put(ada, "c",
		doc("everybody", "plan"),
		withACL(doc("public", "plan"), "public"),
		withACL(doc("tenant", "plan"), "tenant:acme"),
		withACL(doc("ada", "plan"), "user:ada"),
		withACL(doc("nobody", "plan")),
	)
	for _, id := range []string{"ada", "nobody"} {
		_, err := h.client.GetDocument(eve, &searchv1.GetDocumentRequest{Collection: "c", Document: id})
		h.wantReason(err, apierr.NotFound, "document")
		_, err = h.client.DeleteDocument(eve, &searchv1.DeleteDocumentRequest{Collection: "c", Document: id})
		h.wantReason(err, apierr.NotFound, "document")
	}
	_, err := h.client.GetDocument(ada, &searchv1.GetDocumentRequest{Collection: "c", Document: "nobody"})
	h.wantReason(err, apierr.NotFound, "document")
	if _, err := h.client.GetDocument(ada, &searchv1.GetDocumentRequest{Collection: "c", Document: "ada"}); err != nil {
		t.Error(err)
	}
	if got := chunkIDs(h.search(eve, &searchv1.SearchRequest{Collection: "c", Query: "plan"})); got != "everybody#0 public#0 tenant#0" {
		t.Errorf("eve finds %q", got)
	}
	var listed, token string
	for {
		resp, err := h.client.ListDocuments(eve, &searchv1.ListDocumentsRequest{Collection: "c", PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.GetDocuments() {
			listed += d.GetId() + " "
			if d.GetText() != "" {
				t.Errorf("%s is listed with its text", d.GetId())
			}
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if listed != "everybody public tenant " {
		t.Errorf("eve lists %q", listed)
	}
	_, err = h.client.ListDocuments(eve, &searchv1.ListDocumentsRequest{Collection: "c", PageToken: "zzz"})
	h.wantReason(err, apierr.InvalidArgument, "page_token")
}

func TestANewAccessListHoldsAtOnce(t *testing.T) {
	h := newHarness(t)
	ada, eve := h.as("ada"), h.as("eve")
	h.create(ada, "c")
	for i := range 5 {
		h.put(ada, "c", doc("a", "plan"))
		if got := chunkIDs(h.search(eve, &searchv1.SearchRequest{Collection: "c", Query: "plan"})); got != "a#0" {
			t.Fatalf("round %d: eve finds %q", i, got)
		}
		h.put(ada, "c", withACL(doc("a", "plan"), "user:ada"))
		for _, mode := range []string{"hybrid", "lexical", "vector"} {
			if got := chunkIDs(h.search(eve, &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: mode})); got != "" {
				t.Fatalf("round %d, %s: eve finds %q", i, mode, got)
			}
		}
	}
}
