package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// paged answers with three pages of one hit each.
func paged(body map[string]any) (int, string) {
	next := map[any]string{nil: "t2", "t2": "t3", "t3": ""}[body["page_token"]]
	return http.StatusOK, fmt.Sprintf(`{"mode":"hybrid","hits":[{"chunk_id":"%v#0"}],"warnings":["slow"],"next_page_token":%q}`, body["page_token"], next)
}

func TestSearchAsksForAllPages(t *testing.T) {
	gateway := &searchable{answer: paged}
	code, out, stderr := run(t, gateway, "", "search", "c", "x", "--all", "--top-k", "1", "--rerank", "judge", "--rerank-top", "7", "--deduplicate", "--diversity", "0.5", "-o", "json")
	var answer struct {
		Hits []struct {
			ID string `json:"chunk_id"`
		} `json:"hits"`
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 0 || len(answer.Hits) != 3 || answer.Hits[2].ID != "t3#0" {
		t.Fatalf("code %d, %v: %s%s", code, err, out, stderr)
	}
	for i, body := range gateway.bodies {
		if lookup(body, "rerank.model") != "judge" || lookup(body, "rerank.top_n") != 7.0 || body["deduplicate"] != true || body["diversity"] != 0.5 || body["top_k"] != 1.0 {
			t.Errorf("page %d: searched %v", i, body)
		}
	}
}

func TestSearchShowsOnePage(t *testing.T) {
	gateway := &searchable{answer: paged}
	code, out, stderr := run(t, gateway, "", "search", "c", "x", "--page-token", "t2")
	if code != 0 || !strings.Contains(out, "t2#0") || !strings.Contains(stderr, "warning: slow") || !strings.Contains(stderr, "--all") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	if body := gateway.bodies[0]; len(gateway.bodies) != 1 || body["page_token"] != "t2" || body["rerank"] != nil || body["diversity"] != nil {
		t.Errorf("searched %v", gateway.bodies)
	}
}

// A table is for reading; what it leaves out is there as JSON.
func TestSearchShowsHitsOfALine(t *testing.T) {
	text := strings.Repeat("été ", 300)
	gateway := &searchable{answer: func(map[string]any) (int, string) {
		return http.StatusOK, fmt.Sprintf(`{"hits":[{"chunk_id":"d#0","score":2.131323958354435,"title":%q,"text":%q},{"chunk_id":"e#0","score":-0.5,"title":"","text":"a\nb"}]}`, text, text)
	}}
	code, out, _ := run(t, gateway, "", "search", "c", "x")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || len([]rune(lines[1])) > 200 || !strings.Contains(lines[1], "2.1313   d#0") || !strings.HasSuffix(lines[1], "été…") {
		t.Errorf("code %d: %s", code, out)
	}
	if !strings.HasPrefix(lines[2], "-0.5000") || !strings.HasSuffix(lines[2], "a b") {
		t.Errorf("got %s", out)
	}
	if _, out, _ := run(t, gateway, "", "search", "c", "x", "-o", "json"); !strings.Contains(out, text) {
		t.Errorf("the text is cut in JSON: %s", out)
	}
}

func TestSearchAsksMore(t *testing.T) {
	gateway := &searchable{answer: func(map[string]any) (int, string) {
		return http.StatusOK, `{"hits":[{"chunk_id":"d#0"}],"suggestion":"leave",
			"facets":[{"field":"year","values":[{"value":2024,"count":3},{"value":"old","count":1}]}]}`
	}}
	code, out, stderr := run(t, gateway, "", "search", "c", "leev", "--facet", "year", "--facet", "lang",
		"--order-by", "metadata.year desc", "--language", "fr", "--suggest", "--plain")
	if code != 0 || !strings.Contains(stderr, "did you mean: leave") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	for _, want := range []string{"d#0", "FACET", "2024", "old"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in %s", want, out)
		}
	}
	got, _ := json.Marshal(gateway.bodies[0])
	for _, want := range []string{
		`"facets":[{"field":"year"},{"field":"lang"}]`, `"order_by":"metadata.year desc"`, `"language":"fr"`, `"suggest":true`, `"plain":true`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	run(t, gateway, "", "search", "c", "leave")
	for _, name := range []string{"facets", "order_by", "language", "suggest", "plain"} {
		if _, there := gateway.bodies[1][name]; there {
			t.Errorf("%s is asked for", name)
		}
	}
}

func TestSearchRefusesWhatCannotBe(t *testing.T) {
	for _, args := range [][]string{{"--diversity", "1.1"}, {"--diversity", "NaN"}, {"--rerank-top", "5"}, {"--rerank", "judge", "--rerank-top", "201"}} {
		for _, verb := range [][]string{{"search", "c", "x"}, {"eval", "--data", judged(t)}} {
			if code, _, stderr := run(t, nil, "", append(verb, args...)...); code != 2 {
				t.Errorf("%s %v: code %d: %s", verb[0], args, code, stderr)
			}
		}
	}
}

func TestEvalReranks(t *testing.T) {
	by := `"judge@v1"`
	gateway := &searchable{answer: func(body map[string]any) (int, string) {
		return http.StatusOK, fmt.Sprintf(`{"mode":%q,"reranked_by":%s,"hits":[{"document_id":"d1"}]}`, body["mode"], by)
	}}
	args := []string{"eval", "--data", judged(t), "--mode", "lexical", "--rerank", "judge", "--diversity", "0.2", "-o", "json"}
	code, out, stderr := run(t, gateway, "", args...)
	if code != 0 || lookup(gateway.bodies[0], "rerank.model") != "judge" || gateway.bodies[0]["diversity"] != 0.2 || !strings.Contains(out, `"model": "judge"`) {
		t.Errorf("code %d, searched %v: %s%s", code, gateway.bodies, out, stderr)
	}
	by = `""`
	if code, _, stderr := run(t, gateway, "", args...); code != 1 || !strings.Contains(stderr, "was not reranked") {
		t.Errorf("not reranked: code %d: %s", code, stderr)
	}
}
