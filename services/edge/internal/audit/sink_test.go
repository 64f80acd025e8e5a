package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func at(seconds int) time.Time { return time.Date(2026, 5, 1, 12, 0, seconds, 123000, time.UTC) }

// sample returns a record with every field filled.
func sample(i int) Record {
	return Record{
		ID: fmt.Sprintf("id-%04d", i), RequestID: fmt.Sprintf("req-%d", i), Time: at(i), Tenant: "acme",
		Subject: "ada", KeyID: "k1", Method: "/poterne.edge.v1.OpenAIService/CreateChatCompletion", Resource: "model/m",
		Decision: Refused, Reason: "RATE_LIMITED", Address: "192.0.2.7", Duration: 1500 * time.Microsecond,
		ServedBy: "m@v3", Experiment: "x", Arm: "b", PromptTokens: 12, CompletionTokens: 34,
		Policy: "v3", Rule: "r-7", Findings: []string{"waf/942100 block", "secret/aws-key redact"}, Review: true,
		Documents: []string{"c/d"}, Cache: "hit", Content: auditproof.Hash{1}, Sequence: int64(i), Previous: auditproof.Hash{2}, Hash: auditproof.Hash{3},
	}
}

func samples(n int) (out []Record) {
	for i := range n {
		out = append(out, sample(i))
	}
	return out
}

func openSQL(tb testing.TB, dsn string) *SQLSink {
	tb.Helper()
	db, err := schema.Open(tb.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return NewSQLSink(db)
}

func sqliteDSN(tb testing.TB) string {
	tb.Helper()
	return "sqlite://" + filepath.Join(tb.TempDir(), "edge.db")
}

func TestSQLite(t *testing.T) {
	testTable(t, func(t *testing.T) string { t.Helper(); return sqliteDSN(t) })
}

// testTable holds for every table; dsn returns an empty database.
func testTable(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	list := func(t *testing.T, s *SQLSink, q Query) []Record {
		t.Helper()
		out, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	write := func(t *testing.T, s *SQLSink, batch []Record) {
		t.Helper()
		if err := s.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("everything comes back, newest first", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		const n = 3*32 + 2*8 + 5 // statements of each size
		write(t, s, samples(n))
		got := list(t, s, Query{Limit: n + 1})
		if len(got) != n {
			t.Fatalf("%d records", len(got))
		}
		for i, r := range got {
			if want := sample(n - 1 - i); !reflect.DeepEqual(r, want) {
				t.Fatalf("got  %+v\nwant %+v", r, want)
			}
		}
	})
	t.Run("records that lack what most do", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		want := samples(100)
		for i := range want {
			if r := &want[i]; i%3 > 0 {
				r.Reason, r.Experiment, r.Arm, r.Findings, r.Documents, r.Content, r.Review = "", "", "", nil, nil, auditproof.Hash{}, false
			}
		}
		want[50].Documents = []string{"c/d"} // all but one
		write(t, s, want)
		slices.Reverse(want)
		if got := list(t, s, Query{Limit: 101}); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	})
	t.Run("a batch that is given again is kept once", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		write(t, s, samples(3))
		write(t, s, samples(5))
		if got := list(t, s, Query{Limit: 100}); len(got) != 5 {
			t.Fatalf("%d records", len(got))
		}
	})
	t.Run("pages, tenants and requests", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		batch := samples(10)
		for i := range batch {
			batch[i].Time = at(i / 4) // several at one instant
			if i%3 == 0 {
				batch[i].Tenant = "globex"
			}
		}
		write(t, s, batch)
		var ids []string
		var before Position
		for {
			page := list(t, s, Query{Limit: 3, Before: before})
			if len(page) == 0 {
				break
			}
			for _, r := range page {
				ids = append(ids, r.ID)
			}
			before = PositionOf(page[len(page)-1])
		}
		if len(ids) != 10 || ids[0] != "id-0009" || ids[9] != "id-0000" {
			t.Fatalf("by pages: %v", ids)
		}
		if got := list(t, s, Query{Limit: 100, Tenant: "globex"}); len(got) != 4 {
			t.Errorf("%d of one tenant", len(got))
		}
		if got := list(t, s, Query{Limit: 100, Tenant: "acme", RequestID: "req-3"}); len(got) != 0 {
			t.Errorf("another tenant's request is shown: %+v", got)
		}
		if got := list(t, s, Query{Limit: 100, Tenant: "globex", RequestID: "req-3"}); len(got) != 1 {
			t.Errorf("%d of one request", len(got))
		}
	})
	t.Run("what callers write does not get a record refused", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		r := sample(0)
		r.Resource = "model/\x00\xff'; DROP TABLE edge_audit; --"
		write(t, s, []Record{r})
		if got := list(t, s, Query{Limit: 1}); got[0].Resource != "model/\uFFFD\uFFFD'; DROP TABLE edge_audit; --" {
			t.Fatalf("%q", got[0].Resource)
		}
	})
	t.Run("prune", func(t *testing.T) {
		s := openSQL(t, dsn(t))
		write(t, s, samples(10))
		if n, err := s.Prune(t.Context(), at(4), nil); n != 4 || err != nil {
			t.Fatalf("%d deleted, %v", n, err)
		}
		got := list(t, s, Query{Limit: 100})
		if len(got) != 6 || got[5].ID != "id-0004" {
			t.Fatalf("left: %d", len(got))
		}
	})
}

func readFile(t *testing.T, path string) (out []Record) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var r Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue // a line that a crash left
		}
		out = append(out, r)
	}
	return out
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	open := func() *FileSink {
		s, err := OpenFileSink(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open()
	if err := s.Write(t.Context(), samples(3)); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path); !reflect.DeepEqual(got, samples(3)) {
		t.Fatalf("got %+v", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}

	// Renamed, as log rotation does.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), samples(1)); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path); len(got) != 1 {
		t.Fatalf("%d records in the new file", len(got))
	}

	// A line that a crash left unfinished spoils no other.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"id":"half`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open().Write(t.Context(), samples(2)); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path); len(got) != 3 {
		t.Fatalf("%d records after a crash", len(got))
	}
}

func TestFileThatCannotBeOpened(t *testing.T) {
	if _, err := OpenFileSink(filepath.Join(t.TempDir(), "no", "such", "dir")); err == nil {
		t.Fatal("no error")
	}
}
