package search_test

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func TestConditionsHoldInEveryMode(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	h.put(ctx, "c",
		doc("phrase", "the boundary layer of a wing"),
		doc("apart", "the layer at the boundary of a wing"),
		doc("draft", "the boundary layer of a draft wing"),
		doc("other", "x-ray and C++"),
	)
	for query, want := range map[string]string{
		`"boundary layers"`:         "draft phrase",
		`“boundary layer” -draft`:   "phrase",
		`« boundary layer » wing`:   "draft phrase",
		`layer -"boundary layer"`:   "apart other",
		`wing +draft`:               "draft",
		`wing -wing`:                "other",
		`+boundary +zebra`:          "",
		`"boundary layer`:           "apart draft other phrase",
		`x-ray`:                     "apart draft other phrase",
		`+x-ray`:                    "other",
		`boundary - layer C++ "" +`: "apart draft other phrase",
	} {
		for _, mode := range []string{"lexical", "vector", "hybrid"} {
			got := make(map[string]bool)
			for _, hit := range h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: query, Mode: mode}).GetHits() {
				got[hit.GetDocumentId()] = true
			}
			for _, id := range []string{"phrase", "apart", "draft", "other"} {
				allowed := strings.Contains(" "+want+" ", " "+id+" ")
				if got[id] && !allowed || !got[id] && allowed && mode != "lexical" {
					t.Errorf("%s, %s: %s found: %v", query, mode, id, got[id])
				}
			}
		}
	}
	for _, query := range []string{`"layer boundary"`, "wing -draft", "-wing", strings.Repeat("+wing ", 40)} {
		resp := h.search(ctx, &searchv1.SearchRequest{Collection: "c", Query: query, Plain: true})
		if len(resp.GetHits()) != 4 {
			t.Errorf("plain %s: %s", query, chunkIDs(resp))
		}
	}
	_, err := h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: "-wing"})
	h.wantReason(err, apierr.InvalidArgument, "query")
	_, err = h.client.Search(ctx, &searchv1.SearchRequest{Collection: "c", Query: strings.Repeat("+a ", 33)})
	h.wantReason(err, apierr.InvalidArgument, "query")
}

func TestFacetsAndOrders(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	for i := range 30 {
		d := &searchv1.Document{Id: fmt.Sprintf("d%02d", i), Title: fmt.Sprint("T", 9-i%10), Text: "flow " + strings.Repeat("over wings ", i%4)}
		h.put(ctx, "c", withMetadata(t, d, map[string]any{
			"year": 2000 + i%6, "lang": []string{"en", "fr", "de"}[i%3], "tags": []any{"all", fmt.Sprint("t", i%2)},
			"at": fmt.Sprintf("2024-05-%02dT12:00:00Z", i+1),
		}))
	}
	req := &searchv1.SearchRequest{
		Collection: "c", Query: "wings", Mode: "lexical", TopK: 3, OrderBy: "metadata.year desc, title",
		Facets: []*searchv1.FacetRequest{
			{Field: "metadata.lang"},
			{Field: "tags", Limit: 1},
			{Field: "year", Limit: 2, Ranges: []*searchv1.FacetRange{{From: structpb.NewNumberValue(2003)}, {To: structpb.NewNumberValue(2001)}}},
			{Field: "at", Limit: 1, Ranges: []*searchv1.FacetRange{{From: structpb.NewStringValue("2024-05-15")}}},
		},
	}
	resp := h.search(ctx, req)
	if got := chunkIDs(resp); got != "d29#0 d17#0 d05#0" {
		t.Errorf("ordered: %s", got)
	}
	var got []string
	for _, f := range resp.GetFacets() {
		line := f.GetField()
		for _, v := range f.GetValues() {
			line += fmt.Sprintf(" %v=%d", v.GetValue().AsInterface(), v.GetCount())
		}
		for _, r := range f.GetRanges() {
			line += fmt.Sprintf(" [%d]", r.GetCount())
		}
		got = append(got, fmt.Sprintf("%s other=%d missing=%d", line, f.GetOtherCount(), f.GetMissingCount()))
	}
	// 22 of the 30 documents have wings: all but every fourth.
	if want := `metadata.lang de=8 en=7 fr=7 other=0 missing=0
tags all=22 other=22 missing=0
year 2001=5 2003=5 [12] [2] other=12 missing=0
at 2024-05-02T12:00:00Z=1 [12] other=21 missing=0`; strings.Join(got, "\n") != want {
		t.Errorf("facets:\n%s\nwant:\n%s", strings.Join(got, "\n"), want)
	}
	for _, mode := range []string{"vector", "hybrid"} {
		req.Mode = mode
		resp := h.search(ctx, req)
		if got := chunkIDs(resp); got != "d29#0 d17#0 d05#0" {
			t.Errorf("%s, ordered: %s", mode, got)
		}
		if n := resp.GetFacets()[0].GetValues()[0].GetCount(); n != 10 {
			t.Errorf("%s counts %d, want every document", mode, n)
		}
	}
}

func TestBadFacetsAndOrdersAreRefused(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	number, text := structpb.NewNumberValue(1), structpb.NewStringValue("soon")
	many := make([]*searchv1.FacetRequest, 17)
	for i := range many {
		many[i] = &searchv1.FacetRequest{Field: "a"}
	}
	ranges := func(r ...*searchv1.FacetRange) []*searchv1.FacetRequest {
		return []*searchv1.FacetRequest{{Field: "ok"}, {Field: "year", Ranges: r}}
	}
	for name, tc := range map[string]struct {
		req   *searchv1.SearchRequest
		field string
	}{
		"too many facets":   {&searchv1.SearchRequest{Facets: many}, "facets"},
		"no field":          {&searchv1.SearchRequest{Facets: []*searchv1.FacetRequest{{}}}, "facets[0].field"},
		"no path":           {&searchv1.SearchRequest{Facets: []*searchv1.FacetRequest{{Field: "a"}, {Field: "metadata."}}}, "facets[1].field"},
		"a path too long":   {&searchv1.SearchRequest{Facets: []*searchv1.FacetRequest{{Field: strings.Repeat("é", 300)}}}, "facets[0].field"},
		"no key":            {&searchv1.SearchRequest{OrderBy: "metadata. desc"}, "order_by"},
		"a key too long":    {&searchv1.SearchRequest{OrderBy: strings.Repeat("é", 300)}, "order_by"},
		"too many values":   {&searchv1.SearchRequest{Facets: []*searchv1.FacetRequest{{Field: "a", Limit: 1001}}}, "facets[0].limit"},
		"too many ranges":   {&searchv1.SearchRequest{Facets: ranges(make([]*searchv1.FacetRange, 65)...)}, ""},
		"no bounds":         {&searchv1.SearchRequest{Facets: ranges(&searchv1.FacetRange{})}, "facets[1].ranges[0]"},
		"no moment":         {&searchv1.SearchRequest{Facets: ranges(&searchv1.FacetRange{To: text})}, "facets[1].ranges[0]"},
		"two kinds":         {&searchv1.SearchRequest{Facets: ranges(&searchv1.FacetRange{From: number, To: structpb.NewStringValue("2024-05-01")})}, "facets[1].ranges[0]"},
		"an empty key":      {&searchv1.SearchRequest{OrderBy: "title,,id"}, "order_by"},
		"another direction": {&searchv1.SearchRequest{OrderBy: "title down"}, "order_by"},
		"a key twice":       {&searchv1.SearchRequest{OrderBy: "title, title desc"}, "order_by"},
		"too many keys":     {&searchv1.SearchRequest{OrderBy: "a,b,c,d,e,f,g,h,i"}, "order_by"},
		"an order too long": {&searchv1.SearchRequest{OrderBy: strings.Repeat("a", 1025)}, "order_by"},
		"another language":  {&searchv1.SearchRequest{Language: "de"}, "language"},
		"a bad timestamp":   {&searchv1.SearchRequest{Filter: `at > timestamp("soon")`}, "filter"},
		"a bad distance":    {&searchv1.SearchRequest{Filter: `distance(where, 100, 0) < 5`}, "filter"},
	} {
		tc.req.Collection, tc.req.Query = "c", "wing"
		_, err := h.client.Search(h.as("ada"), tc.req)
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
		h.wantReason(err, apierr.InvalidArgument, tc.field)
	}
}

func TestSuggestions(t *testing.T) {
	h := newHarness(t)
	ada, zoe := h.as("ada"), h.as("zoe")
	h.create(ada, "c")
	h.put(ada, "c",
		doc("a", "The boundary layer of a wing while walking. Flutter at 500 m/s."),
		doc("b", "Boundary layers and the wing."),
		&searchv1.Document{Id: "f", Title: "Écoulement", Text: "L'écoulement autour de l'aile est étudié dans la soufflerie."},
		withACL(doc("secret", "The boundury of zeppelin is bundary bundary bundary."), "user:zoe"),
		withACL(doc("gone", "flotter"), "user:ada"),
	)
	if _, err := h.client.DeleteDocument(ada, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "gone"}); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"boundery layer":               "boundary layer",
		"BOUNDERY Layr":                "BOUNDARY Layer",
		`the "Bounadry layer" +wnig`:   `the "Boundary layer" +wing`,
		"l'ecoulemnt de l’aile":        "l'écoulement de l’aile",
		"boundary layers":              "",
		"walkng":                       "walking",
		"zepelin":                      "",
		"boundery -layre -\"wingg x\"": "boundary -layre -\"wingg x\"",
		"the wth ovzr":                 "",
		"flottre":                      "",
		"xylophone quartz 5000 m/z":    "",
		"boundery, boundery!":          "boundary, boundary!",
	} {
		for _, mode := range []string{"lexical", "hybrid"} {
			got := h.search(ada, &searchv1.SearchRequest{Collection: "c", Query: query, Mode: mode, Suggest: true}).GetSuggestion()
			if got != want {
				t.Errorf("%s: got %q, want %q", query, got, want)
			}
		}
	}
	if got := h.search(ada, &searchv1.SearchRequest{Collection: "c", Query: "boundery layer"}).GetSuggestion(); got != "" {
		t.Errorf("suggested without being asked: %q", got)
	}
	if got := h.search(zoe, &searchv1.SearchRequest{Collection: "c", Query: "zepelin", Suggest: true}).GetSuggestion(); got != "zeppelin" {
		t.Errorf("zoe gets %q", got)
	}
}

func TestLanguages(t *testing.T) {
	h := newHarness(t)
	library(t, h)
	for query, want := range map[string]string{
		"the flow over a wing": "en", "l'écoulement autour de l'aile": "fr", "soufflerie": "",
	} {
		if got := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: query}).GetLanguage(); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "est études", Mode: "lexical", Language: "fr"})
	if resp.GetLanguage() != "fr" {
		t.Errorf("language %q", resp.GetLanguage())
	}
}
