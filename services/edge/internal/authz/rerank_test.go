package authz

import (
	"testing"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

func TestASearchNeedsThePermissionForItsRerankingModel(t *testing.T) {
	a := open(t, "p, public, own, model, judge, rerank, true, deny\n")
	m := Table()[searchv1.SearchService_Search_FullMethodName]
	c := callerWith("acme", "developer")
	for model, want := range map[string]bool{"": true, "other@v1": true, "judge": false, "judge@v2": false} {
		req := &searchv1.SearchRequest{Collection: "c", Query: "x"}
		if model != "" {
			req.Rerank = &searchv1.Rerank{Model: model}
		}
		if err := a.Check(t.Context(), m, c, req); (err == nil) != want {
			t.Errorf("%q: %v", model, err)
		}
	}
}
