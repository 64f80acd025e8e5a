package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/linefile"
)

// A process that is killed has in its journal what its store lacks, once.
func checkAKilledProcessLosesNothing(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	dir := t.TempDir()
	p := begin(t, sink, dir, "a", nil)
	p.add(t, 0, 10)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.add(t, 10, 25)
	begun := sample(30)
	begun.Content = auditproof.Hash{}
	if err := p.Begin(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	p.crash()
	path := filepath.Join(dir, "journal", "a-000001"+journalSuffix)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"record":{"id":"ha`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	for _, chain := range []string{"b", "c"} { // the first dies while it takes over
		p = begin(t, sink, dir, chain, nil)
		if p.left.Records != 25 || p.left.Skipped != 1 || len(p.left.Unfinished) != 1 || p.left.Unfinished[0].Reason != Unfinished {
			t.Fatalf("%+v", p.left)
		}
		if chain == "b" {
			p.crash()
		}
	}
	if err := p.Append(t.Context(), p.left.Unfinished[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.marks.EndChain(t.Context(), sink, "a"); err != nil {
		t.Fatal(err)
	}
	if r := p.verify(t); r.Found != 0 || r.Records != 26 || r.Chains[0].Proven != 25 {
		t.Fatalf("%+v", r)
	}
	if err := p.left.Done(); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "journal", "*"+journalSuffix))
	if len(left) != 0 {
		t.Fatalf("left in the journal: %v", left)
	}
}

func TestTwoProcessesNeverShareAJournal(t *testing.T) {
	dir := t.TempDir()
	j, err := OpenJournal(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(-1)
	if _, err := OpenJournal(dir, false); err == nil {
		t.Fatal("no error")
	}
}

func TestTheJournalDoesNotGrow(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	dir := t.TempDir()
	p := begin(t, sink, dir, "a", nil)
	big := strings.Repeat("x", 400_000)
	for i := range 60 {
		r := sample(i)
		r.Resource = big
		if err := p.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i%5 == 4 {
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	var total int64
	files, _ := filepath.Glob(filepath.Join(dir, "journal", "*"+journalSuffix))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 6*linefile.FileBytes { // five records may wait, which take as many bytes in two files and a spare one
		t.Fatalf("%d bytes in %d files", total, len(files))
	}
}
