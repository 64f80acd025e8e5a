package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

const (
	searchPath    = "/v1/collections/handbook:search"
	documentsPath = "/v1/collections/handbook/documents:batchUpsert"
	someDocuments = `{"documents":[{"id":"a","title":"Leave","text":"25 days."}]}`
	reranked      = `{"query":"days","rerank":{"model":"judge","top_n":3}}`
)

// embedded and judged are what models did for a search.
func embedded(n int32) *searchv1.ModelWork {
	return &searchv1.ModelWork{Kind: "embed", Model: "e5", Version: 2, Digest: "sha256:e5", InputTokens: n}
}

func judged(n, documents int32) *searchv1.ModelWork {
	return &searchv1.ModelWork{Kind: "rerank", Model: "judge", Version: 1, Digest: "sha256:judge", InputTokens: n, Documents: documents}
}

// searching returns a gate whose models have prices, and somebody of a tenant with an
// administrator.
func searching(t *testing.T) (g *gate, ada, admin []string) {
	t.Helper()
	g = open(t, nil)
	g.search.embedder = "e5"
	for _, p := range []string{
		`{"price":{"model":"small","rates":{"input":1000000,"output":2000000}}}`, `{"price":{"model":"e5","rates":{"embedding":3000000}}}`,
		`{"price":{"model":"judge","rates":{"rerank":4000000,"document":100000000}}}`,
	} {
		if a := g.do("POST", "/v1/admin/prices", p); a.status != http.StatusOK {
			t.Fatal(a.text)
		}
	}
	ada, admin = g.holder("acme", "ada", "developer", ""), g.holder("acme", "root", "admin", "")
	return g, ada, admin
}

// billed is what the tenant has been billed, by kind and model.
func (g *gate) billed(admin []string) string {
	g.t.Helper()
	a := g.do("GET", "/v1/admin/usage?group_by=kind&group_by=model&group_by=version&group_by=subject", "", admin...)
	var out []string
	rows, _ := a.at("rows").([]any)
	for _, r := range rows {
		out = append(out, fmt.Sprint(at(r, "subject"), " ", at(r, "kind"), " ", at(r, "model"), "@v", at(r, "version"), " ", at(r, "requests"), ": ",
			at(r, "input_tokens"), " tokens, ", at(r, "documents"), " documents, ", at(r, "cost")))
	}
	return strings.Join(out, "; ")
}

func (g *gate) wantBilled(what string, admin []string, want string) {
	g.t.Helper()
	if got := g.billed(admin); got != want {
		g.t.Errorf("%s: billed is %q, want %q", what, got, want)
	}
}

// What models do for a search and for documents is billed to the caller, by what they
// counted, and told where a request is explained.
func TestSearchesAndDocumentsAreBilled(t *testing.T) {
	g, ada, admin := searching(t)
	g.search.works = []*searchv1.ModelWork{embedded(2), judged(20, 3)}
	a := g.do("POST", searchPath, reranked, ada...)
	if a.status != http.StatusOK || a.header.Get("X-Poterne-Cost") != "0.000386 USD" || a.at("model_work", 0, "kind") != "embed" || a.at("model_work", 1, "documents") != 3.0 {
		t.Errorf("%d %v %s", a.status, a.header, a.text)
	}
	told := g.told("a search", a.header.Get("X-Request-Id"), ada, letIn+"serving asked, usage whole, usage whole, answer answered",
		"usage kind=embed", "usage prompt_tokens=2", "usage model=e5@v2", "cost_micros=386", "currency=USD", "prompt_tokens=22")
	if !strings.Contains(told.text, `"judge@v1"`) {
		t.Errorf("who reranked is not told: %s", told.text)
	}
	g.wantBilled("a search", admin, "ada embed e5@v2 1: 2 tokens, 0 documents, 6; ada rerank judge@v1 1: 20 tokens, 3 documents, 380")

	g.search.works = []*searchv1.ModelWork{embedded(5)}
	if a := g.do("POST", documentsPath, someDocuments, ada...); a.status != http.StatusOK || a.header.Get("X-Poterne-Cost") != "0.000015 USD" {
		t.Errorf("documents: %d %v %s", a.status, a.header, a.text)
	}
	resp := g.importing("/v1/collections/handbook/documents:import", strings.NewReader(`{"id":"a","text":"25 days."}`+"\n"+`{"id":"b","text":"Cats."}`+"\n"), ada...)
	if text := all(t, resp.Body); !strings.Contains(text, `"done":true`) {
		t.Errorf("an import: %s", text)
	}
	a = g.do("POST", chatPath, retrieving+`}}`, ada...)
	if a.status != http.StatusOK || a.header.Get("X-Poterne-Cost") != "0.000026 USD" {
		t.Errorf("a chat: %d %v %s", a.status, a.header, a.text)
	}
	if got := g.billed(admin); !strings.HasPrefix(got, "ada embed e5@v2 ") || !strings.Contains(got, "ada generate small@v3 1: 7 tokens, 0 documents, 11") {
		t.Errorf("billed is %q", got)
	}
	if a := g.do("POST", "/v1/admin/usage:check", `{}`, g.holder("default", "op", "admin", "")...); a.at("adds_up") != true {
		t.Errorf("the ledger does not add up: %s", a.text)
	}
}

// What models did before a search failed is billed, also where the search is a chat's.
func TestAFailedSearchIsBilledForWhatModelsDid(t *testing.T) {
	g, ada, admin := searching(t)
	g.search.works, g.search.failing = []*searchv1.ModelWork{embedded(2)}, apierr.Invalid("rerank.model", "rerank.model: there is no model \"judge\"")
	a := g.do("POST", searchPath, reranked, ada...)
	if a.status != http.StatusBadRequest || len(a.header.Values("Poterne-Model-Work-Bin")) > 0 {
		t.Errorf("%d %v %s", a.status, a.header, a.text)
	}
	g.told("a search", a.header.Get("X-Request-Id"), ada, letIn+"serving asked, usage partial, answer refused", "prompt_tokens=2", "cost_micros=6")
	g.wantBilled("a search", admin, "ada embed e5@v2 1: 2 tokens, 0 documents, 6")
	if a := g.do("POST", chatPath, retrieving+`}}`, ada...); a.status == http.StatusOK {
		t.Errorf("a chat: %d %s", a.status, a.text)
	}
	g.wantBilled("a chat besides", admin, "ada embed e5@v2 2: 4 tokens, 0 documents, 12")
}

// What no model did is not billed, also by a service that tells nothing of it, and what
// failed is given back.
func TestWhatNoModelDidForASearchIsNotBilled(t *testing.T) {
	g, ada, admin := searching(t)
	budget := `{"budget":{"id":"all","scope":"tenant","period":"total","unit":"tokens","amount":100000,"hard":true}}`
	if a := g.do("POST", "/v1/admin/budgets", budget, admin...); a.status != http.StatusOK {
		t.Fatal(a.text)
	}
	for _, c := range []struct{ path, body string }{{searchPath, reranked}, {documentsPath, someDocuments}, {chatPath, retrieving + `},"max_tokens":5}`}} {
		if a := g.do("POST", c.path, c.body, ada...); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", c.path, a.status, a.text)
		}
	}
	if a := g.do("POST", searchPath, `{"query":"days","filter":"year >>"}`, ada...); a.status != http.StatusBadRequest {
		t.Errorf("a search that fails: %d %s", a.status, a.text)
	}
	g.wantBilled("nothing but the chat", admin, "ada generate small@v3 1: 7 tokens, 0 documents, 11")
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) { // a lease goes back within two seconds
		a := g.do("GET", "/v1/admin/budgets/all", "", admin...)
		if a.at("budget", "standing", "settled") == 9.0 && a.at("budget", "standing", "reserved") == 0.0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the budget: %s", a.text)
		}
	}
}

// Nothing is done for whom a budget has nothing left, and the answer is that of every
// other request.
func TestABudgetHoldsSearchesAndDocuments(t *testing.T) {
	g, ada, admin := searching(t)
	budget := `{"budget":{"id":"none","scope":"tenant","period":"day","unit":"%s","amount":0,"hard":true}}`
	g.search.works = []*searchv1.ModelWork{embedded(2), judged(20, 3)}
	for _, unit := range []string{"tokens", "money"} {
		if a := g.do("POST", "/v1/admin/budgets", fmt.Sprintf(budget, unit), admin...); a.status != http.StatusOK {
			t.Fatal(a.text)
		}
		for name, c := range map[string]struct{ path, body string }{
			"hybrid": {searchPath, `{"query":"days"}`}, "vector": {searchPath, `{"query":"days","mode":"vector"}`}, "reranked": {searchPath, `{"query":"days","mode":"lexical","rerank":{"model":"judge"}}`},
			"documents": {documentsPath, someDocuments}, "chat": {chatPath, retrieving + `}}`}, "message": {messagesPath, strings.Replace(retrieving, "{", `{"max_tokens":9,`, 1) + `}}`},
		} {
			a := g.do("POST", c.path, c.body, ada...)
			if a.status != http.StatusTooManyRequests || !strings.Contains(a.text, `budget \"none\" (of the tenant, a day) allows nothing`) || a.header.Get("Retry-After") != "" {
				t.Errorf("%s of %s: %d %v %s", name, unit, a.status, a.header, a.text)
			}
		}
		resp := g.importing("/v1/collections/handbook/documents:import", strings.NewReader(`{"id":"a","text":"25 days."}`+"\n"), ada...)
		if text := all(t, resp.Body); !strings.Contains(text, string(apierr.QuotaExceeded)) || strings.Contains(text, `"done":true`) || strings.Contains(text, `"status":"created"`) {
			t.Errorf("an import of %s: %s", unit, text)
		}
		if a := g.do("POST", searchPath, `{"query":"words","mode":"lexical"}`, ada...); a.status != http.StatusOK {
			t.Errorf("a search that asks no model: %d %s", a.status, a.text)
		}
		if a := g.do("DELETE", "/v1/admin/budgets/none", "", admin...); a.status != http.StatusOK {
			t.Fatal(a.text)
		}
	}
	g.search.mu.Lock()
	defer g.search.mu.Unlock()
	if len(g.search.asked) != 2 || g.search.documents != 0 {
		t.Errorf("%d searches and %d batches went through", len(g.search.asked), g.search.documents)
	}
}

// Limits of tokens count them, too.
func TestALimitOfTokensHoldsSearches(t *testing.T) {
	g, ada, admin := searching(t)
	g.search.works = []*searchv1.ModelWork{embedded(60)}
	rule := `{"limit":{"kind":"LIMIT_KIND_INPUT_TOKENS","amount":100,"period":"3600s","by":["tenant"]}}`
	if a := g.do("PUT", "/v1/admin/limits/few", rule, admin...); a.status != http.StatusOK {
		t.Fatal(a.text)
	}
	for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusTooManyRequests} {
		if a := g.do("POST", searchPath, `{"query":"days"}`, ada...); a.status != want {
			t.Errorf("search %d: %d %s", i+1, a.status, a.text)
		}
	}
}
