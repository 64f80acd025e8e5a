package batches

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func TestSQLiteStore(t *testing.T) {
	for name, test := range map[string]func(*testing.T, string){
		"calls": testStore, "at random": testAtRandom, "runner": testRunner, "killed runners": testKilledRunners,
	} {
		t.Run(name, func(t *testing.T) { test(t, "sqlite:"+filepath.Join(t.TempDir(), "edge.db")) })
	}
}

type stores struct {
	*SQLStore
	files *files.SQLStore
	db    *sqldb.DB
}

func openStores(t *testing.T, dsn string) stores {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return stores{NewSQLStore(db), files.NewSQLStore(db), db}
}

// file keeps a file.
func (s stores) file(t *testing.T, o files.Owner, id, text string, now time.Time) {
	t.Helper()
	w, err := files.NewWriter(t.Context(), s.files, files.Begin(o, id, now), files.Room{Files: 100, Bytes: 1 << 30}, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), []byte(text)); err != nil {
		t.Fatal(err)
	}
	f, err := w.Finished(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Purpose, f.ExpireTime = files.PurposeBatch, now.Add(48*time.Hour)
	if err := s.files.Finish(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}

func (s stores) batch(t *testing.T, o files.Owner, id, file string, now time.Time) {
	t.Helper()
	if err := s.Create(t.Context(), Batch{
		ID: id, Owner: o, KeyID: "k-" + o.Subject, Address: "192.0.2.7", Endpoint: chatURL, InputFile: file, Status: Validating, CreateTime: now, ExpireTime: now.Add(24 * time.Hour),
	}, 100); err != nil {
		t.Fatal(err)
	}
}

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// testStore is what every store must do.
func testStore(t *testing.T, dsn string) {
	t.Helper()
	s, ctx := openStores(t, dsn), t.Context()
	ada, eve := files.Owner{Tenant: "acme", Subject: "ada"}, files.Owner{Tenant: "globex", Subject: "ada"}
	s.file(t, ada, "file-a", "x", start)
	b := Batch{
		ID: "batch_1", Owner: ada, KeyID: "k", Address: "192.0.2.7", Endpoint: chatURL, InputFile: "file-a", OutputTTL: time.Hour,
		Metadata: map[string]string{"k": "v"}, Status: Validating, CreateTime: start, ExpireTime: start.Add(24 * time.Hour),
	}
	for name, change := range map[string]func(*Batch){
		"another's file": func(b *Batch) { b.Owner = eve },
		"no file":        func(b *Batch) { b.InputFile = "file-b" },
		"an old file":    func(b *Batch) { b.CreateTime = start.Add(72 * time.Hour) },
	} {
		c := b
		change(&c)
		if err := s.Create(ctx, c, 10); !errors.Is(err, files.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Create(ctx, b, 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(ctx, Batch{ID: "batch_9", Owner: ada, InputFile: "file-a", CreateTime: start}, 1); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
	if err := s.files.Delete(ctx, ada, "file-a", start); !errors.Is(err, files.ErrInUse) {
		t.Errorf("a file in use is deleted: %v", err)
	}
	if n, err := s.files.Purge(ctx, start.Add(96*time.Hour), 10); n != 0 || err != nil {
		t.Errorf("%d files in use are purged, %v", n, err)
	}
	got, err := s.Get(ctx, ada, "batch_1")
	if b.Problems = []Problem{}; err != nil || fmt.Sprint(got) != fmt.Sprint(b) {
		t.Errorf("%+v, %v\nwant %+v", got, err, b)
	}
	if _, err := s.Get(ctx, eve, "batch_1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's: %v", err)
	}
	if _, err := s.Cancel(ctx, eve, "batch_1", start); !errors.Is(err, ErrNotFound) {
		t.Errorf("another's is cancelled: %v", err)
	}
	for i := range 4 {
		s.batch(t, ada, fmt.Sprintf("batch_%d", i+2), "file-a", start.Add(time.Duration(i/2+1)*time.Minute))
	}
	var ids []string
	for after := ""; ; after = ids[len(ids)-1] {
		page, err := s.List(ctx, ada, after, 2)
		if err != nil || len(page) == 0 {
			break
		}
		for _, b := range page {
			ids = append(ids, b.ID)
		}
	}
	if want := "batch_5 batch_4 batch_3 batch_2 batch_1"; strings.Join(ids, " ") != want {
		t.Errorf("listed: %v", ids)
	}
	if _, err := s.List(ctx, eve, "batch_1", 10); !errors.Is(err, ErrNotFound) {
		t.Errorf("after another's: %v", err)
	}

	// Tenants take turns, and a tenant has no more taken than it may.
	s.file(t, eve, "file-e", "x", start)
	for i := range 2 {
		s.batch(t, eve, fmt.Sprintf("batch_e%d", i), "file-e", start.Add(time.Hour))
	}
	now := start.Add(2 * time.Hour)
	var order []string
	var leases []Lease
	for {
		if starved, err := s.Starved(ctx, now); err != nil || starved != (len(order) < 2) {
			t.Errorf("after %v starved is %v, %v", order, starved, err)
		}
		b, l, err := s.Take(ctx, "one", now, now.Add(time.Minute), 2)
		if err != nil {
			break
		}
		order, leases = append(order, b.ID), append(leases, l)
	}
	if want := "batch_1 batch_e0 batch_2 batch_e1"; strings.Join(order, " ") != want {
		t.Errorf("taken: %v", order)
	}
	l := leases[0]
	for name, err := range map[string]error{
		"finalized before it began": s.Finalize(ctx, l, now),
		"completed before it began": s.End(ctx, l, Ending{Status: Completed, Time: now}),
	} {
		if !errors.Is(err, ErrStatus) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Begin(ctx, l, 3, now); err != nil {
		t.Fatal(err)
	}
	if status, err := s.Keep(ctx, l, []Result{{Line: 2, OK: true, Data: []byte("b")}, {Line: 1, Data: []byte("a")}}); err != nil || status != InProgress {
		t.Errorf("%s, %v", status, err)
	}
	if _, err := s.Keep(ctx, l, []Result{{Line: 3, OK: true, Data: []byte("c")}, {Line: 1, OK: true, Data: []byte("again")}}); err == nil {
		t.Error("a line is answered twice")
	}
	// The lease ends, and another edge takes over.
	later := now.Add(time.Minute)
	var l2 Lease
	for l2.Batch != l.Batch { // those that nobody had yet come first
		if _, l2, err = s.Take(ctx, "two", later, later.Add(time.Minute), 10); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"keep":     second(s.Keep(ctx, l, []Result{{Line: 3, Data: []byte("late")}})),
		"renew":    second(s.Renew(ctx, l, later.Add(time.Hour))),
		"begin":    s.Begin(ctx, l, 5, later),
		"finalize": s.Finalize(ctx, l, later),
		"end":      s.End(ctx, l, Ending{Status: Failed, Time: later}),
	} {
		if !errors.Is(err, ErrLost) {
			t.Errorf("%s with a lost lease: %v", name, err)
		}
	}
	if err := s.Release(ctx, l); err != nil {
		t.Error(err)
	}
	if status, err := s.Renew(ctx, l2, later.Add(time.Minute)); err != nil || status != InProgress {
		t.Errorf("%s, %v", status, err)
	}
	if lines, err := s.Done(ctx, "batch_1"); err != nil || len(lines) != 2 {
		t.Errorf("%v, %v", lines, err)
	}
	if _, err := s.Keep(ctx, l2, []Result{{Line: 3, OK: true, Data: []byte("c")}}); err != nil {
		t.Error(err)
	}
	if err := s.Finalize(ctx, l2, later); err != nil {
		t.Error(err)
	}
	if b, err := s.Cancel(ctx, ada, "batch_1", later); !errors.Is(err, ErrStatus) || b.Status != Finalizing {
		t.Errorf("cancelled while it is finalizing: %s, %v", b.Status, err)
	}
	var text string
	for after := int64(0); ; {
		list, err := s.Results(ctx, "batch_1", after, 2)
		if err != nil || len(list) == 0 {
			break
		}
		for _, r := range list {
			text += fmt.Sprintf("%d%v%s ", r.Line, r.OK, r.Data)
			after = r.Line
		}
	}
	if text != "1falsea 2trueb 3truec " {
		t.Errorf("results: %s", text)
	}
	if err := s.End(ctx, l2, Ending{Status: Completed, Output: &files.File{ID: "file-none"}, Time: later}); err == nil {
		t.Error("it ends with a file that is not there")
	}
	if err := s.End(ctx, l2, Ending{Status: Completed, Time: later}); err != nil {
		t.Error(err)
	}
	if b, err := s.Get(ctx, ada, "batch_1"); err != nil || b.Status != Completed || b.Completed != 2 || b.Failed != 1 || b.Total != 3 || !b.EndTime.Equal(later) {
		t.Errorf("%+v, %v", b, err)
	}

	// Cancelled, twice.
	for range 2 {
		if b, err := s.Cancel(ctx, ada, "batch_2", later); err != nil || b.Status != Cancelling {
			t.Errorf("%s, %v", b.Status, err)
		}
	}
	if n, err := s.Tidy(ctx, later.Add(-time.Hour), 2); n != 2 || err != nil {
		t.Errorf("%d rows are tidied, %v", n, err)
	}
	if n, err := s.Tidy(ctx, later.Add(time.Hour), 100); n != 2 || err != nil { // an answer, and the batch
		t.Errorf("%d rows are tidied, %v", n, err)
	}
	if _, err := s.Get(ctx, ada, "batch_1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

// testAtRandom does whatever may come in whatever order, from edges that do not know of
// each other, and compares with what must hold.
func testAtRandom(t *testing.T, dsn string) {
	t.Helper()
	s, ctx := openStores(t, dsn), t.Context()
	ada := files.Owner{Tenant: "acme", Subject: "ada"}
	s.file(t, ada, "file-a", "x", start)
	const lines = 6
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for round := range 6 {
		id := fmt.Sprintf("batch_r%d", round)
		s.batch(t, ada, id, "file-a", start)
		now, was := start, Validating
		kept := make(map[int64]bool)
		var leases []Lease
		for range 50 {
			now = now.Add(time.Duration(random.IntN(40)) * time.Second)
			var l Lease
			if len(leases) > 0 {
				l = leases[len(leases)-1-min(random.IntN(4), len(leases)-1)*random.IntN(2)]
			}
			live := len(leases) > 0 && l == leases[len(leases)-1]
			var err error
			switch random.IntN(8) {
			case 0, 1:
				var b Batch
				if b, l, err = s.Take(ctx, fmt.Sprint("edge", random.IntN(2)), now, now.Add(time.Minute), 1); err == nil && b.ID == id {
					leases = append(leases, l)
				}
				err = nil
			case 2:
				err = s.Begin(ctx, l, lines, now)
			case 3, 4:
				line := random.Int64N(lines) + 1
				if kept[line] {
					continue // whoever holds the lease knows
				}
				if _, err = s.Keep(ctx, l, []Result{{Line: line, OK: line%2 == 0, Data: []byte("x")}}); err == nil {
					kept[line] = true
				}
			case 5:
				if len(kept) == lines {
					err = s.Finalize(ctx, l, now)
				}
			case 6:
				err = s.End(ctx, l, Ending{Status: Statuses()[random.IntN(len(Statuses()))], Time: now})
			case 7:
				if random.IntN(6) == 0 {
					_, _ = s.Cancel(ctx, ada, id, now)
				}
			}
			b, problem := s.Get(ctx, ada, id)
			if problem != nil {
				t.Fatal(problem)
			}
			if b.Status != was && !was.May(b.Status) {
				t.Fatalf("%s follows on %s", b.Status, was)
			}
			if err == nil && b.Status != was && b.Status != Cancelling && !live {
				t.Fatalf("who lost the lease made %s of %s", b.Status, was)
			}
			was = b.Status
			done, problem := s.Done(ctx, id)
			if problem != nil {
				t.Fatal(problem)
			}
			if slices.Sort(done); len(done) != len(kept) || b.Completed+b.Failed != int64(len(kept)) {
				t.Fatalf("%v are kept, %d and %d are counted, and %v were", done, b.Completed, b.Failed, kept)
			}
		}
		if _, err := s.db.ExecContext(ctx, `UPDATE edge_batches SET unfinished = 0 WHERE id = $1`, id); err != nil {
			t.Fatal(err)
		}
	}
}
