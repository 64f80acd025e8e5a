package authz

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// TestClasses: rules for classes of documents become a filter.
func TestClasses(t *testing.T) {
	const everything = "p, role:guest, own, *, *, *, true, allow\n"
	for name, c := range map[string]struct {
		rules, filter string
		denied        bool
	}{
		"no rule":           {everything, "", false},
		"one denied":        {everything + "p, role:guest, own, collection, *, search, document_class == 'secret', deny\n", `NOT class:"secret"`, false},
		"two denied":        {everything + "p, role:guest, own, collection, *, search, \"document_class in ['secret', 'legal']\", deny\n", `NOT class:"legal" AND NOT class:"secret"`, false},
		"all but one":       {everything + "p, role:guest, own, collection, *, search, document_class != 'public', deny\n", `class = "public"`, false},
		"all but none":      {everything + "p, role:guest, own, collection, *, search, document_class != '', deny\n", `NOT class:* OR class = ""`, false},
		"none":              {everything + "p, role:guest, own, collection, *, search, document_class == '', deny\n", `class:* AND NOT class = ""`, false},
		"one allowed":       {"p, role:guest, own, collection, *, search, document_class == 'public', allow\n", `class = "public"`, false},
		"and no class":      {"p, role:guest, own, collection, *, search, \"document_class in ['public', '']\", allow\n", `class = "public" OR NOT class:* OR class = ""`, false},
		"allowed, denied":   {"p, role:guest, own, collection, *, search, \"document_class in ['a', 'b']\", allow\np, role:guest, own, collection, *, search, document_class == 'b', deny\n", `class = "a"`, false},
		"all denied":        {everything + "p, role:guest, own, collection, *, search, document_class == 'a' || document_class != 'a', deny\n", "", true},
		"for somebody else": {everything + "p, role:guest, own, collection, *, search, document_class == 'secret' && subject == 'eve', deny\n", "", false},
		"turned around":     {everything + "p, role:guest, own, collection, *, search, !('secret' == document_class) && subject == 'ada', deny\n", `class = "secret"`, false},
	} {
		a := open(t, c.rules)
		m := Table()[searchv1.SearchService_Search_FullMethodName]
		for range 2 {
			v, err := a.Judge(t.Context(), m, callerWith("acme", "guest"), &searchv1.SearchRequest{Collection: "c"})
			if (err != nil) != c.denied || v.Classes.Filter() != c.filter {
				t.Errorf("%s: %q, %v", name, v.Classes.Filter(), err)
			}
		}
	}
	a := open(t, everything+"p, role:guest, own, *, *, *, document_class == 'secret', deny\n")
	for method, held := range map[string]bool{
		searchv1.SearchService_Search_FullMethodName: true, searchv1.SearchService_GetDocument_FullMethodName: true, searchv1.SearchService_ListDocuments_FullMethodName: true,
		searchv1.SearchService_BackupCollection_FullMethodName: false, searchv1.SearchService_DeleteDocument_FullMethodName: false, searchv1.SearchService_BatchUpsertDocuments_FullMethodName: false,
	} {
		_, err := a.Judge(t.Context(), Table()[method], callerWith("acme", "guest"), &searchv1.GetDocumentRequest{Collection: "c", Document: "d"})
		if (err == nil) != held || err != nil && apierr.ReasonOf(err) != apierr.PermissionDenied {
			t.Errorf("%s: %v", method, err)
		}
	}
}

// TestClassesAreNames: what cannot become a filter is not accepted.
func TestClassesAreNames(t *testing.T) {
	for _, condition := range []string{
		"document_class.startsWith('s')", "document_class == subject", "document_class in groups", "document_class + 'x' == 'secretx'",
		"size(document_class) > 3", `document_class == 'a" OR class = "b'`, "document_class in ['a', subject]", "['a'].exists(x, x == document_class)",
		"document_class == 'x y'", "document_class < 'b'", "(subject == 'a' ? document_class : 'b') == 'b'", "document_class in [document_class]",
	} {
		_, err := ParsePolicy(strings.NewReader("p, role:guest, own, collection, *, search, \"" + strings.ReplaceAll(condition, `"`, `""`) + "\", deny\n"))
		if err == nil || !strings.Contains(err.Error(), "class") {
			t.Errorf("%s: %v", condition, err)
		}
	}
}
