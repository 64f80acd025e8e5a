package ledger

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func entry(i int) Entry {
	return Entry{
		ID: fmt.Sprintf("e%04d", i), RequestID: fmt.Sprintf("r%d", i), Time: time.Date(2026, 5, 1, 10+i%5, 0, i, 1000*i, time.UTC), Outcome: Whole,
		Dimensions: Dimensions{Tenant: "acme", KeyID: "k1", Subject: "ana \"<é>\"", Kind: "generate", Model: "chat", Version: 3, Arm: "b", Experiment: "x"},
		Tokens:     Tokens{Input: 10, Cached: 4, Output: int64(i)}, Cost: int64(2 * i), Price: 7,
		Charges: []Charge{{Period: Period{Budget: 1}, Amount: int64(2 * i), Money: true}},
	}
}

// killed is what is left of a journal when its process is: the lock.
func killed(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func openJournal(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func begun(t *testing.T, dir string) *Journal {
	t.Helper()
	j := openJournal(t, dir)
	if err := j.Begin("holder"); err != nil {
		t.Fatal(err)
	}
	return j
}

func TestAJournalOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	j := begun(t, dir)
	if _, err := OpenJournal(dir); err == nil {
		t.Fatal("two processes have one journal")
	}
	for i := range 600 {
		e := entry(i)
		if n, err := j.Append(&e); err != nil || n != int64(i+1) {
			t.Fatal(n, err)
		}
	}
	take := func(i int) *Slot {
		e := Entry{ID: fmt.Sprintf("h%d", i), Time: entry(i).Time, Dimensions: entry(i).Dimensions, Charges: entry(i).Charges}
		s, err := j.Take(&e)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var slots []*Slot
	for i := range 300 { // more than a chunk
		slots = append(slots, take(i))
	}
	for i, s := range slots {
		s.Count(Tokens{Input: 7, Output: int64(i)}, i%2 == 1)
		if i%3 == 0 {
			s.Free()
		}
	}
	e := entry(1)
	e.ID, e.Model = "h1", "other"
	if err := slots[1].Update(&e); err != nil {
		t.Fatal(err)
	}
	again := take(1000) // in a place that was used before
	killed(t, j)
	_ = again

	j = openJournal(t, dir)
	if holder, err := j.OldHolder(); err != nil || holder != "holder" {
		t.Errorf("%q, %v", holder, err)
	}
	seen := 0
	left, err := j.Left(func(batch []Entry) error {
		for _, e := range batch {
			if want := entry(seen); fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", want) {
				t.Fatalf("%+v, want %+v", e, want)
			}
			seen++
		}
		return nil
	})
	if err != nil || seen != 600 || left.Skipped != 0 || len(left.InHand) != 201 {
		t.Fatalf("%d entries, %d in hand, %d skipped, %v", seen, len(left.InHand), left.Skipped, err)
	}
	later := 0
	for _, e := range left.InHand {
		if e.ID == "h1" {
			later++
		}
		switch {
		case e.ID == "h1000" && !e.None(), e.Outcome != Recovered, e.ID != "h1000" && e.Input != 7:
			t.Errorf("%+v", e)
		case e.ID == "h1" && (e.Tenant != entry(1).Tenant || e.KeyID != entry(1).KeyID || !e.Time.Equal(entry(1).Time) || e.Model != "other" || e.Output != 1 || !e.Estimated):
			t.Errorf("what was known later: %+v", e)
		}
	}
	if later != 1 {
		t.Errorf("the request of which more was known is there %d times", later)
	}
	if err := j.Begin("next"); err != nil {
		t.Fatal(err)
	}
	left, err = j.Left(func([]Entry) error { t.Error("entries twice"); return nil })
	if err != nil || len(left.InHand) != 0 {
		t.Errorf("%+v, %v", left, err)
	}
}

// Each class that was counted is there after the end of its process, none in another's
// place: a class that is added and not kept would not be billed.
func TestAnEntryInHandKeepsEveryClass(t *testing.T) {
	var all Tokens
	v := reflect.ValueOf(&all).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(math.MaxInt32 - i)) // what engines count at most
	}
	for _, want := range []Tokens{all, {}} {
		dir := t.TempDir()
		j := openJournal(t, dir)
		e := Entry{ID: "h", Time: entry(1).Time}
		s, err := j.Take(&e)
		if err != nil {
			t.Fatal(err)
		}
		s.Count(all, true)
		s.Count(want, false)
		killed(t, j)
		left, err := openJournal(t, dir).Left(func([]Entry) error { return nil })
		if err != nil || len(left.InHand) != 1 || left.InHand[0].Tokens != want || left.InHand[0].Estimated {
			t.Errorf("%+v: left %+v, %v", want, left.InHand, err)
		}
	}
}

// However a slot's memory was torn, it gives a whole entry or none.
func TestATornSlotIsNoEntry(t *testing.T) {
	dir := t.TempDir()
	j := begun(t, dir)
	e := entry(1)
	s, err := j.Take(&e)
	if err != nil {
		t.Fatal(err)
	}
	before := append([]byte(nil), s.mem...)
	next := e
	next.Version, next.Arm = 9, "b"
	if err := s.Update(&next); err != nil {
		t.Fatal(err)
	}
	after := append([]byte(nil), s.mem...)
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		torn := append([]byte(nil), before...)
		for i := 0; i < len(torn); i += 8 { // each word as it was, or as it would be
			if rnd.IntN(2) == 0 {
				copy(torn[i:i+8], after[i:i+8])
			}
		}
		if got, ok := (&Slot{mem: torn}).left(); ok && (got.ID != "e0001" || got.Model != "chat" || got.Version != e.Version && got.Version != 9) {
			t.Fatalf("%+v", got)
		}
	}
	long := entry(3)
	long.Subject = strings.Repeat("x", maxSlotText)
	if _, err := j.Take(&long); err == nil {
		t.Error("an entry that is too long is kept")
	}
	if len(j.free) != slotsPerChunk-1 {
		t.Errorf("%d slots are free", len(j.free))
	}
}

func TestATornLineIsSkipped(t *testing.T) {
	dir := t.TempDir()
	j := begun(t, dir)
	for i := range 3 {
		e := entry(i)
		if _, err := j.Append(&e); err != nil {
			t.Fatal(err)
		}
	}
	killed(t, j)
	path := filepath.Join(dir, "000001"+linesSuffix)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.TrimRight(text, "\x00")
	if err := os.WriteFile(path, text[:len(text)-5], 0o600); err != nil {
		t.Fatal(err)
	}
	j = openJournal(t, dir)
	seen := 0
	left, err := j.Left(func(batch []Entry) error { seen += len(batch); return nil })
	if err != nil || seen != 2 || left.Skipped != 1 {
		t.Errorf("%d entries, %+v, %v", seen, left, err)
	}
}

// journalled is how many entries the next process would find.
func journalled(t *testing.T, dir string) (n int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*"+linesSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if _, err := readLines(path, func(batch []Entry) error { n += len(batch); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestAJournalIsCutShort(t *testing.T) {
	dir := t.TempDir()
	j := begun(t, dir)
	files := func() int {
		paths, err := filepath.Glob(filepath.Join(dir, "*"+linesSuffix))
		if err != nil {
			t.Fatal(err)
		}
		return len(paths)
	}
	e := entry(1)
	e.Subject = strings.Repeat("s", 200)
	var last int64
	for files() < 5 {
		var err error
		if last, err = j.Append(&e); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Written(last - 1); err != nil || journalled(t, dir) == 0 || files() > 4 {
		t.Errorf("%d entries in %d files with one to come, %v", journalled(t, dir), files(), err)
	}
	if err := j.Written(last); err != nil || journalled(t, dir) != 0 || files() > 2 {
		t.Errorf("%d entries with none, %v", journalled(t, dir), err)
	}
	if _, err := j.Append(&e); err != nil || journalled(t, dir) != 1 {
		t.Error("nothing is kept after")
	}
}
