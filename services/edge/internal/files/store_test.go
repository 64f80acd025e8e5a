package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func sqlite(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "edge.db")
}

func TestSQLiteStore(t *testing.T) { testStore(t, sqlite(t)) }

func TestDirectoryStore(t *testing.T) {
	testStore(t, sqlite(t), Place{PlaceDirectory, directory(t, t.TempDir())})
}

func openDB(t *testing.T, dsn string) *sqldb.DB {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// testStore is what every store must do, wherever pieces lie.
func testStore(t *testing.T, dsn string, places ...Place) {
	t.Helper()
	db := openDB(t, dsn)
	s, ctx := NewSQLStore(db, places...), t.Context()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ada, bob, eve := Owner{"acme", "ada"}, Owner{"acme", "bob"}, Owner{"globex", "ada"}
	room := Room{Files: 5, Bytes: 3 * pieceBytes}
	put := func(o Owner, id string, data []byte, made time.Time) error {
		w, err := NewWriter(ctx, s, Begin(o, id, made), room, 2*pieceBytes)
		if err != nil {
			return err
		}
		for len(data) > 0 && err == nil { // not as it is kept
			n := min(len(data), 100_000)
			err = w.Write(ctx, data[:n])
			data = data[n:]
		}
		var f File
		if err == nil {
			f, err = w.Finished(ctx)
		}
		if err == nil {
			f.Purpose, f.Filename, f.ExpireTime = PurposeBatch, id+".jsonl", made.Add(time.Hour)
			err = s.Finish(ctx, f)
		}
		return errors.Join(err, func() error {
			if err != nil {
				return w.Abandon(ctx)
			}
			return nil
		}())
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), (pieceBytes+pieceBytes/2)/16)
	if err := put(ada, "f1", large, now); err != nil {
		t.Fatal(err)
	}
	f, err := s.Get(ctx, ada, "f1", now)
	if err != nil || f.Bytes != int64(len(large)) || f.Chunks != 2 || len(f.SHA256) != 64 || f.Filename != "f1.jsonl" || !f.ExpireTime.Equal(now.Add(time.Hour)) {
		t.Fatalf("%+v, %v", f, err)
	}
	if data, err := io.ReadAll(Reader(ctx, s, f)); err != nil || !bytes.Equal(data, large) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := put(bob, "f2", append(large, large...), now); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := put(bob, "f2", make([]byte, 2*pieceBytes), now); !errors.Is(err, ErrFull) {
		t.Errorf("no room in the tenant: %v", err)
	}
	if err := put(ada, "f1", []byte("x"), now); err == nil {
		t.Error("an id is kept twice")
	}
	if err := put(eve, "f3", make([]byte, pieceBytes), now); err != nil {
		t.Errorf("another tenant's room: %v", err)
	}
	for i := range 3 {
		if err := put(ada, fmt.Sprintf("g%d", i), []byte("x"), now.Add(time.Duration(i/2)*time.Minute)); err != nil {
			t.Error(err)
		}
	}
	// What is being written is seen by nobody, and counts.
	begun := Begin(bob, "f4", now)
	if err := s.Begin(ctx, begun, room); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, bob, "f4", now); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file that is being written: %v", err)
	}
	if err := put(bob, "f5", []byte("x"), now); !errors.Is(err, ErrTooMany) {
		t.Errorf("too many: %v", err)
	}
	if err := s.Abandon(ctx, "f4"); err != nil {
		t.Error(err)
	}
	if err := s.Append(ctx, begun, 0, []byte("x"), room); !errors.Is(err, ErrNotFound) {
		t.Errorf("a file that was given up is written: %v", err)
	}
	if err := s.Abandon(ctx, "f1"); err != nil { // it is finished
		t.Error(err)
	}
	list := func(q Query) string {
		q.Owner, q.Now = ada, now
		found, err := s.List(ctx, q)
		if err != nil {
			return err.Error()
		}
		var ids []string
		for _, f := range found {
			ids = append(ids, f.ID)
		}
		return strings.Join(ids, " ")
	}
	for want, q := range map[string]Query{
		"g2 g1 g0 f1": {Limit: 9}, "f1 g0": {Limit: 2, Oldest: true}, "g1 g2": {Limit: 9, Oldest: true, After: "g0"}, "g1": {Limit: 1, After: "g2"},
		"": {Limit: 9, Purpose: PurposeBatchOutput}, ErrNotFound.Error(): {Limit: 9, After: "f3"},
	} {
		if got := list(q); got != want {
			t.Errorf("%+v: %q, want %q", q, got, want)
		}
	}
	for _, o := range []Owner{bob, eve, {}} {
		if _, err := s.Get(ctx, o, "f1", now); !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: %v", o, err)
		}
		if err := s.Delete(ctx, o, "f1", now); !errors.Is(err, ErrNotFound) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := s.Delete(ctx, ada, "f1", now); err != nil {
		t.Error(err)
	}
	if _, err := s.Piece(ctx, f, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("a piece is left: %v", err)
	}
	if _, err := s.Get(ctx, ada, "g0", now.Add(time.Hour)); !errors.Is(err, ErrNotFound) {
		t.Errorf("it has ended: %v", err)
	}
	if n, err := s.Purge(ctx, now.Add(time.Hour), 2); n != 2 || err != nil {
		t.Errorf("%d purged, %v", n, err)
	}
	if n, err := s.Purge(ctx, now.Add(2*time.Hour), 9); n != 2 || err != nil {
		t.Errorf("%d purged, %v", n, err)
	}
	testAtOnce(t, s, db, now)
}

// testAtOnce has many write at once: a bound holds, and nothing is lost of it.
func testAtOnce(t *testing.T, s *SQLStore, db *sqldb.DB, now time.Time) {
	t.Helper()
	o := Owner{"crowd", "x"}
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			w, err := NewWriter(t.Context(), s, Begin(o, fmt.Sprintf("c%d", i), now), Room{Files: 100, Bytes: 5000}, 5000)
			if err != nil {
				t.Error(err)
				return
			}
			if err := w.Write(t.Context(), make([]byte, 1000)); err != nil {
				t.Error(err)
			}
			f, err := w.Finished(t.Context())
			if err == nil {
				f.Purpose = PurposeBatch
				err = s.Finish(t.Context(), f)
			} else if errors.Is(err, ErrFull) {
				err = w.Abandon(context.WithoutCancel(t.Context()))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	var files, size int64
	if err := db.QueryRowContext(t.Context(), `SELECT files, bytes FROM edge_file_totals WHERE tenant = 'crowd'`).Scan(&files, &size); err != nil || files != 5 || size != 5000 {
		t.Errorf("%d files of %d bytes, %v", files, size, err)
	}
	var left int64
	if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM edge_file_totals WHERE tenant <> 'crowd' AND (files <> 0 OR bytes <> 0)`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d tenants have room that is nowhere, %v", left, err)
	}
}

func TestLabel(t *testing.T) {
	for in, want := range map[string]string{
		"a.jsonl": "a.jsonl", "": "file", "..": "file", "../../etc/passwd": "passwd", `C:\x\y.jsonl`: "y.jsonl", "/": "file",
		"a\x00b\r\nc": "abc", "ü.jsonl": "ü.jsonl", "a\xffb": "ab", "safe\u202egnp.exe": "safegnp.exe", strings.Repeat("é", 200): strings.Repeat("é", 127),
	} {
		if got := label(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
