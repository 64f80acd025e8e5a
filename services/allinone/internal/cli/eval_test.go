package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// searchable is a gateway with one collection, which finds by a list.
type searchable struct {
	mu      sync.Mutex
	exists  bool
	calls   []string
	bodies  []map[string]any
	written int
	busy    map[string]int // how often a document is refused for the moment, by id
	answer  func(body map[string]any) (status int, answer string)
}

func (s *searchable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	verb := r.Method + " " + r.URL.Path
	s.calls = append(s.calls, verb)
	switch {
	case verb == "POST /v1/collections":
		if s.exists {
			answer(http.StatusConflict, `{"detail":"there is one","code":"ALREADY_EXISTS"}`)(w, r)
			return
		}
		fmt.Fprint(w, `{}`)
	case r.Method == http.MethodDelete:
		fmt.Fprint(w, `{}`)
	case strings.HasSuffix(verb, ":batchUpsert"):
		documents, _ := body["documents"].([]any)
		s.written += len(documents)
		results := make([]any, 0, len(documents))
		for _, d := range documents {
			result := map[string]any{"id": lookup(d, "id"), "status": "created"}
			if id := cell(lookup(d, "id")); s.busy[id] > 0 {
				s.busy[id]--
				result = map[string]any{"id": id, "status": "failed", "error": map[string]any{"code": "UNAVAILABLE", "message": "busy"}}
			}
			if lookup(d, "text") == "" {
				result = map[string]any{"id": lookup(d, "id"), "status": "failed", "error": map[string]any{"message": "is blank"}}
			}
			results = append(results, result)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
	default:
		s.bodies = append(s.bodies, body)
		status, text := s.answer(body)
		answer(status, text)(w, r)
	}
}

// removed are the collections that were removed.
func (s *searchable) removed() (out []string) {
	for _, c := range s.calls {
		if id, ok := strings.CutPrefix(c, "DELETE /v1/collections/"); ok {
			out = append(out, id)
		}
	}
	return out
}

// finds answers in the mode that was asked for with one passage of each
// document.
func finds(documents ...string) func(map[string]any) (int, string) {
	return func(body map[string]any) (int, string) {
		hits := make([]any, len(documents))
		for i, d := range documents {
			hits[i] = map[string]any{"document_id": d}
		}
		raw, _ := json.Marshal(map[string]any{"mode": body["mode"], "hits": hits})
		return http.StatusOK, string(raw)
	}
}

func judged(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var documents strings.Builder
	for i := range 30 {
		fmt.Fprintf(&documents, `{"id":"d%d","title":"","text":"words"}`+"\n", i)
	}
	documents.WriteString(`{"id":"blank","text":""}` + "\n")
	for name, text := range map[string]string{
		"documents.jsonl": documents.String(),
		"queries.jsonl":   `{"id":"q1","text":"one"}` + "\n" + `{"id":"none","text":"no"}` + "\n" + `{"id":"q2","text":"two"}` + "\n",
		"qrels.tsv":       "query_id\tdoc_id\tgrade\nq1\td1\t1\nq2\td1\t2\nq2\td2\t1\nq2\td3\t1\nnone\td1\t0\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What could not be embedded for the moment is written again, and what never can
// is told of in the end.
func TestEvalWritesAgain(t *testing.T) {
	gateway := &searchable{answer: finds("d1"), busy: map[string]int{"d3": 2, "d7": 100}}
	code, _, stderr := run(t, gateway, "", "eval", "--data", judged(t))
	if code != 0 || gateway.busy["d3"] != 0 || gateway.busy["d7"] != 100-evalTries {
		t.Errorf("exit %d, left %v\n%s", code, gateway.busy, stderr)
	}
	if !strings.Contains(stderr, "2 documents are written again") || !strings.Contains(stderr, "document d7: busy") ||
		strings.Contains(stderr, "document d3") || !strings.Contains(stderr, "2 of 31 documents were refused") {
		t.Error(stderr)
	}
	if want := 31 + 2 + 2 + 1 + 1; gateway.written != want {
		t.Errorf("%d documents were sent, want %d", gateway.written, want)
	}
}

func TestEvalMeasures(t *testing.T) {
	gateway := &searchable{answer: finds("x", "d1", "d1", "d2")}
	code, out, stderr := run(t, gateway, "", "eval", "--data", judged(t), "--fusion", "min_max,standardised", "--weights", "1:2", "-o", "json")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 4 {
		t.Fatalf("%v: %s", err, out)
	}
	// q1: 1/log2(3). q2: (2/log2(3) + 1/log2(4)) / (2 + 1/log2(3) + 1/log2(4)).
	const ndcg = (0.63093 + (1.26186+0.5)/(2+0.63093+0.5)) / 2
	for i, mode := range []string{"hybrid", "hybrid", "lexical", "vector"} {
		row := rows[i]
		if row["mode"] != mode || row["queries"] != 2.0 || row["recall_at"] != 100.0 || row["recall"] != rounded((1+2.0/3)/2, 4) ||
			row["ndcg_at_10"] != rounded(ndcg, 4) || number(row["p99_ms"]) < number(row["p50_ms"]) {
			t.Errorf("row %v", row)
		}
	}
	if rows[0]["fusion"] != "min_max" || rows[1]["fusion"] != "standardised" || lookup(rows[0], "weights.vector") != 2.0 || rows[2]["fusion"] != nil {
		t.Errorf("rows %v", rows)
	}
	first := gateway.bodies[0]
	if first["fusion"] != "min_max" || lookup(first, "weights.lexical") != 1.0 || first["query"] != "one" || first["top_k"] != 100.0 {
		t.Errorf("searched %v", first)
	}
	if gateway.written != 31 || !strings.Contains(stderr, "document blank: is blank") || !strings.Contains(stderr, "1 of 31 documents were refused") {
		t.Errorf("%d written, stderr %s", gateway.written, stderr)
	}
	if ids := gateway.removed(); len(ids) != 1 || !strings.HasPrefix(ids[0], "eval-") {
		t.Errorf("removed %q", ids)
	}
}

func TestEvalPrintsATable(t *testing.T) {
	gateway := &searchable{answer: finds("d1")}
	code, out, stderr := run(t, gateway, "", "eval", "--data", judged(t), "--mode", "lexical", "--top-k", "10", "--limit", "1", "--keep", "--collection", "mine")
	if code != 0 || !strings.Contains(out, "RECALL@10") || !strings.Contains(out, "lexical") || strings.Count(out, "\n") != 2 {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	// No cell but that of the fusion is empty.
	if !strings.Contains(out, "P99_MS") || strings.Count(out, " - ") != 1 {
		t.Errorf("got %s", out)
	}
	if ids := gateway.removed(); len(ids) > 0 || len(gateway.bodies) != 1 {
		t.Errorf("removed %q, asked %d times", ids, len(gateway.bodies))
	}
}

func TestEvalLeavesWhatIsThere(t *testing.T) {
	gateway := &searchable{exists: true, answer: finds("d1")}
	code, _, stderr := run(t, gateway, "", "eval", "--data", judged(t), "--collection", "mine")
	if code != 0 || !strings.Contains(stderr, "is there already") || gateway.written > 0 || len(gateway.removed()) > 0 {
		t.Errorf("code %d, %q, stderr %s", code, gateway.calls, stderr)
	}
}

func TestEvalOfAnotherModeFails(t *testing.T) {
	gateway := &searchable{answer: func(map[string]any) (int, string) {
		return http.StatusOK, `{"mode":"lexical","warnings":["answered by words alone"]}`
	}}
	code, out, stderr := run(t, gateway, "", "eval", "--data", judged(t), "--mode", "hybrid")
	if code != 1 || !strings.Contains(out, "hybrid") || !strings.Contains(stderr, "answered by words alone") || !strings.Contains(stderr, "2 searches") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
}

func TestEvalRemovesAfterAFailure(t *testing.T) {
	gateway := &searchable{answer: func(map[string]any) (int, string) { return http.StatusBadRequest, `{"detail":"no such thing"}` }}
	code, out, stderr := run(t, gateway, "", "eval", "--data", judged(t))
	if code != 1 || out != "" || !strings.Contains(stderr, "query q1: no such thing") || len(gateway.removed()) != 1 {
		t.Errorf("code %d: %s%s, %q", code, out, stderr, gateway.calls)
	}
}

func TestEvalRemovesWhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gateway := &searchable{answer: func(body map[string]any) (int, string) {
		cancel()
		return finds()(body)
	}}
	server := httptest.NewServer(gateway)
	t.Cleanup(server.Close)
	env := map[string]string{"POTERNE_URL": server.URL, "POTERNE_API_KEY": "pk_test", "HOME": t.TempDir()}
	var out, errs bytes.Buffer
	code := Main(ctx, "test", []string{"eval", "--data", judged(t)}, Streams{Out: &out, Err: &errs}, func(k string) string { return env[k] })
	gateway.mu.Lock()
	defer gateway.mu.Unlock()
	if code != 1 || len(gateway.removed()) != 1 || out.Len() > 0 {
		t.Errorf("code %d: %s%s, %q", code, out.String(), errs.String(), gateway.calls)
	}
}

func TestEvalWaitsForRoom(t *testing.T) {
	tries := 0
	gateway := &searchable{answer: func(body map[string]any) (int, string) {
		if tries++; tries == 1 {
			return http.StatusTooManyRequests, `{"detail":"slow down"}`
		}
		return finds("d1")(body)
	}}
	code, _, stderr := run(t, gateway, "", "eval", "--data", judged(t), "--mode", "vector", "--limit", "1")
	if code != 0 || tries != 2 {
		t.Errorf("code %d after %d tries: %s", code, tries, stderr)
	}
}

func TestBadEvals(t *testing.T) {
	dir := judged(t)
	for _, args := range [][]string{
		{},
		{"--data", dir, "--mode", "magic"},
		{"--data", dir, "--mode", ""},
		{"--data", dir, "--fusion", "magic"},
		{"--data", dir, "--fusion", "min_max,min_max"},
		{"--data", dir, "--weights", "1"},
		{"--data", dir, "--weights", "a:b"},
		{"--data", dir, "--weights", "NaN:1"},
		{"--data", dir, "--top-k", "0"},
		{"--data", dir, "--top-k", "1001"},
		{"--data", dir, "--limit", "-1"},
		{"--data", t.TempDir()},
	} {
		if code, _, stderr := run(t, nil, "", append([]string{"eval"}, args...)...); code != 2 {
			t.Errorf("%q: code %d: %s", args, code, stderr)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "qrels.tsv"), []byte("q1\td1\t1\nq1\td2\tgood\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := run(t, nil, "", "eval", "--data", dir); code != 2 || !strings.Contains(stderr, "qrels.tsv:2: ") {
		t.Errorf("code %d: %s", code, stderr)
	}
}

func TestPercentile(t *testing.T) {
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(100-i))
	}
	slices.Sort(took[:50])
	if p50, p99 := percentile(took, 50), percentile(took, 99); p50 != 50 || p99 != 99 {
		t.Errorf("got %d, %d", p50, p99)
	}
	if got := percentile(took[:1], 99); got != took[0] {
		t.Errorf("of one: %d", got)
	}
}

func TestSearchSaysHowToFuse(t *testing.T) {
	gateway := &searchable{answer: finds("d")}
	code, _, stderr := run(t, gateway, "", "search", "c", "words", "--fusion", "min_max", "--weights", "0:2.5")
	if code != 0 || gateway.bodies[0]["fusion"] != "min_max" || lookup(gateway.bodies[0], "weights.vector") != 2.5 {
		t.Errorf("code %d: %s, %v", code, stderr, gateway.bodies)
	}
	run(t, gateway, "", "search", "c", "words")
	if _, ok := gateway.bodies[1]["weights"]; ok {
		t.Errorf("nothing was said, sent %v", gateway.bodies[1])
	}
}

// What of the data does not fit together is told, and the rest is measured.
func TestEvalTellsOfGaps(t *testing.T) {
	dir := judged(t)
	path := filepath.Join(dir, "qrels.tsv")
	qrels, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	qrels = append(qrels, "q1\tnowhere\t1\nq7\td1\t1\nq8\td1\t1\n"...)
	if err := os.WriteFile(path, qrels, 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := &searchable{answer: finds("d1")}
	code, _, stderr := run(t, gateway, "", "eval", "--data", dir)
	if code != 0 {
		t.Errorf("exit %d\n%s", code, stderr)
	}
	for _, want := range []string{
		"1 document is judged in qrels.tsv and not in documents.jsonl: it cannot be found, which lowers the figures (nowhere)",
		"2 queries are judged in qrels.tsv and not in queries.jsonl: they are not asked (q7, q8)",
		"1 query has no relevant document in qrels.tsv: it is left out (none)",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is missing in\n%s", want, stderr)
		}
	}
}
