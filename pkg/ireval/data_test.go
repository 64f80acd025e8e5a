package ireval_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/ireval"
)

func write(t *testing.T, documents, queries, grades string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"documents.jsonl": documents, "queries.jsonl": queries, "qrels.tsv": grades} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	documents = `{"id":"1","title":"T","text":"one","year":1960}` + "\n\n" + `{"id":"2","text":"two"}` + "\n"
	queries   = `{"id":"q","text":"which"}`
	grades    = "query_id\tdoc_id\tgrade\r\nq\t1\t3\r\nq\t2\t-1\r\n"
)

func TestRead(t *testing.T) {
	got, err := ireval.Read(write(t, documents, queries, grades))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Documents) != 2 || got.Documents[0] != (ireval.Document{ID: "1", Title: "T", Text: "one"}) || got.Documents[1].ID != "2" {
		t.Errorf("documents %v", got.Documents)
	}
	if len(got.Queries) != 1 || got.Queries[0].Text != "which" || got.Grades["q"]["1"] != 3 || got.Grades["q"].Relevant() != 1 {
		t.Errorf("queries %v, grades %v", got.Queries, got.Grades)
	}
	if got, err = ireval.Read(write(t, documents, queries, "q\t1\t3")); err != nil || got.Grades["q"]["1"] != 3 {
		t.Errorf("without a heading: %v, %v", got.Grades, err)
	}
}

func TestBadDataIsToldByItsLine(t *testing.T) {
	for _, tt := range []struct{ documents, queries, grades, want string }{
		{documents + "{", queries, grades, "documents.jsonl:4: "},
		{`["1"]`, queries, grades, "documents.jsonl:1: "},
		{documents + `{"id":"1"}`, queries, grades, `documents.jsonl:4: the id "1" is that of line 1`},
		{`{"text":"x"}`, queries, grades, "documents.jsonl:1: the id is missing"},
		{documents, queries + "\n" + `{"id":"r","text":" "}`, grades, "queries.jsonl:2: "},
		{documents, queries + "\n" + queries, grades, "queries.jsonl:2: "},
		{documents, queries, grades + "q\t9\tgood", "qrels.tsv:4: "},
		{documents, queries, grades + "q 9 1", "qrels.tsv:4: "},
		{documents, queries, grades + "q\t9\tNaN", "qrels.tsv:4: "},
		{documents, queries, grades + "q\t1\t2", "qrels.tsv:4: "},
		{documents, queries, grades + "\t1\t2", "qrels.tsv:4: "},
		{documents + strings.Repeat("x", 16<<20), queries, grades, "documents.jsonl:4: the line is longer than 16 MiB"},
		{`{"id":1}`, queries, grades, `documents.jsonl:1: "id" must be a string, and is of the type number`},
		{documents, `["q"]`, grades, "queries.jsonl:1: must be a JSON object, and is of the type array"},
		{"", queries, grades, "documents.jsonl: has nothing in it"},
		{documents, "\n \n", grades, "queries.jsonl: has nothing in it"},
		{documents, queries, "query_id\tdoc_id\tgrade\n", "qrels.tsv: has nothing in it"},
	} {
		if _, err := ireval.Read(write(t, tt.documents, tt.queries, tt.grades)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	if _, err := ireval.Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "documents.jsonl") {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestAByteOrderMarkIsNoText(t *testing.T) {
	got, err := ireval.Read(write(t, "\ufeff"+documents, "\ufeff"+queries, "\ufeffq\t1\t3"))
	if err != nil || got.Documents[0].ID != "1" || got.Grades["q"]["1"] != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestGaps(t *testing.T) {
	got, err := ireval.Read(write(t, documents, queries+"\n"+`{"id":"s","text":"so"}`+"\n"+`{"id":"r","text":"no"}`,
		"q\t1\t1\nq\t9\t1\nr\t8\t0\nr\t9\t0\nz\t7\t1\nx\t1\t1"))
	if err != nil {
		t.Fatal(err)
	}
	want := ireval.Gaps{Documents: []string{"8", "9"}, Queries: []string{"x", "z"}, Unjudged: []string{"s", "r"}}
	if gaps := got.Gaps(); !reflect.DeepEqual(gaps, want) {
		t.Errorf("%+v", gaps)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(documents, queries, grades)
	f.Add("{", "[]", "a\tb")
	f.Fuzz(func(t *testing.T, documents, queries, grades string) {
		if docs, err := ireval.ReadDocuments(strings.NewReader(documents)); err == nil {
			for _, d := range docs {
				if d.ID == "" {
					t.Error("a document without an id")
				}
			}
		}
		if qs, err := ireval.ReadQueries(strings.NewReader(queries)); err == nil {
			for _, q := range qs {
				if q.ID == "" || strings.TrimSpace(q.Text) == "" {
					t.Errorf("query %+v", q)
				}
			}
		}
		judged, err := ireval.ReadGrades(strings.NewReader(grades))
		if err != nil {
			return
		}
		for q, g := range judged {
			var ranked []string
			for d := range g {
				ranked = append(ranked, d)
			}
			if n := ireval.NDCG(ranked, g, 10); math.IsNaN(n) || n < 0 || n > 1+1e-9 {
				t.Errorf("query %q: %v", q, n)
			}
		}
	})
}
