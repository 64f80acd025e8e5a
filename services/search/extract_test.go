package search_test

import (
	"strings"
	"testing"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func file(id, kind, content string) *searchv1.Document {
	return &searchv1.Document{Id: id, ContentType: kind, Content: []byte(content)}
}

func TestFilesBecomeTexts(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	both := file("both", "text/plain", "x")
	both.Text = "y"
	page := "<html><title>A Page</title><body><h1>Physics</h1><p>The first paragraph.</p><h2>Of <em>heat</em></h2><p>Heat of a cylinder.</p></body></html>"
	got := h.batch(ctx, "c",
		file("page", "text/html", page),
		file("deep", "text/html", strings.Repeat("<div>", 10_000)),
		file("type", "image/png", "x"),
		file("a/b", "text/html", page),
		file("none", "text/html", ""), both,
		file("same", "text/plain", "The first paragraph."),
	)
	if got != "created failed(INVALID_ARGUMENT documents[1].content) failed(UNSUPPORTED_MEDIA_TYPE documents[2].content_type)"+
		" failed(INVALID_ARGUMENT documents[3].id) failed(INVALID_ARGUMENT documents[4].content) failed(INVALID_ARGUMENT documents[5].content) created" {
		t.Error(got)
	}
	d, err := h.client.GetDocument(ctx, &searchv1.GetDocumentRequest{Collection: "c", Document: "page"})
	if err != nil || d.GetDocument().GetTitle() != "A Page" || d.GetDocument().GetContent() != nil {
		t.Fatalf("%v, %v", d, err)
	}
	hits := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "cylinder", Mode: "lexical"}).GetHits()
	if len(hits) != 1 || d.GetDocument().GetText()[hits[0].GetStartOffset():hits[0].GetEndOffset()] != hits[0].GetText() {
		t.Errorf("%v of %q", hits, d.GetDocument().GetText())
	}
	if got := strings.Join(hits[0].GetHeadings(), " > "); got != "Physics" {
		t.Errorf("the passage stands under %q", got)
	}
	if got := h.batch(ctx, "c", file("page", "text/html", page), doc("same", "The first paragraph.")); got != "unchanged unchanged" {
		t.Errorf("sent again: %s", got)
	}
}
