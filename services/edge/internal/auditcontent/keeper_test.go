package auditcontent

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/jsoncodec"
)

func master(name, fill string) config.Secret {
	return config.Secret(name + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, 32))))
}

// room is a trail's; negative: there is none.
type room int

func (r *room) Hold(n int) bool {
	*r -= room(n)
	return *r >= 0
}

// gone is a store that does not answer once away is set.
type gone struct {
	Store
	away bool
}

var errAway = errors.New("away")

func (g *gone) Key(ctx context.Context, tenant, subject string) (DataKey, error) {
	if g.away {
		return DataKey{}, errAway
	}
	return g.Store.Key(ctx, tenant, subject)
}

// kept is the files of a trail, as far as contents need it.
type kept struct {
	records  map[string]audit.Record
	contents map[string]audit.Sealed
}

func (k *kept) Find(_ context.Context, tenant, id string) (audit.Record, bool, error) {
	r, ok := k.records[id]
	return r, ok && r.Tenant == tenant, nil
}

func (k *kept) Content(_ context.Context, id string) (audit.Sealed, error) {
	c, ok := k.contents[id]
	if !ok {
		return c, audit.ErrNoContent
	}
	return c, nil
}

func (k *kept) DeleteErased(context.Context) (int64, error) { return 0, nil } // as a copy elsewhere has it

// desk is a keeper with its server, and what it sealed.
type desk struct {
	*Keeper
	server *Server
	room   room
	kept   *kept
}

func newDesk(tb testing.TB, store Store, k *kept, key config.Secret, previous ...config.Secret) *desk {
	tb.Helper()
	d := &desk{room: 1 << 20, kept: k}
	cfg := audit.DefaultConfig().Content
	cfg.Key, cfg.PreviousKeys = key, previous
	var err error
	if d.Keeper, err = New(tb.Context(), Deps{
		Config: cfg, Store: store, Room: &d.room, Codec: jsoncodec.New(jsoncodec.Options{}), Clock: clock.Real(), Log: slog.New(slog.DiscardHandler),
	}); err != nil {
		tb.Fatal(err)
	}
	d.server = NewServer(d.Keeper, store, k, time.Now, slog.New(slog.DiscardHandler))
	return d
}

func as(ctx context.Context, tenant, subject string) context.Context {
	return identity.NewContext(ctx, identity.Caller{Tenant: tenant, Subject: subject})
}

// call does what a request does, and returns its record.
func (d *desk) call(t *testing.T, id, tenant, subject, says string) audit.Record {
	t.Helper()
	entry := audit.NewEntry(id)
	ctx := audit.NewContext(as(t.Context(), tenant, subject), entry)
	body := &edgev1.CreateChatCompletionRequest{Model: "m", Messages: []*edgev1.ChatMessage{
		{Role: "user", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: says}}},
	}}
	if err := d.Request(ctx, body, nil); err != nil {
		t.Fatal(err)
	}
	rec := audit.Record{ID: id, Tenant: tenant, Subject: subject, Time: time.Now().Truncate(time.Microsecond)}
	if c := entry.Content(); c != nil {
		c.Answer(&edgev1.StreamChatCompletionResponse{Choices: []*edgev1.ChatChunkChoice{{Delta: &edgev1.ChatMessage{
			Role: "assistant", Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "ye"}},
		}}}}, true)
		c.Answer(&edgev1.StreamChatCompletionResponse{Choices: []*edgev1.ChatChunkChoice{{Delta: &edgev1.ChatMessage{
			Content: &edgev1.MessageContent{Content: &edgev1.MessageContent_Text{Text: "s"}},
		}}}}, true)
		if sealed := c.Seal(ctx, &rec); sealed != nil {
			d.kept.contents[id] = *sealed
		}
	}
	d.kept.records[id] = rec
	return rec
}

func (d *desk) read(t *testing.T, tenant, id string) *edgev1.ReadAuditContentResponse {
	t.Helper()
	out, err := d.server.ReadAuditContent(as(t.Context(), tenant, "root"), &edgev1.ReadAuditContentRequest{Id: id})
	if err != nil {
		t.Fatalf("read %s: %v", id, err)
	}
	return out
}

func (d *desk) enable(tb testing.TB, tenant string) {
	tb.Helper()
	if _, err := d.server.UpdateAuditContentSettings(as(tb.Context(), tenant, "root"), &edgev1.UpdateAuditContentSettingsRequest{Enabled: true}); err != nil {
		tb.Fatal(err)
	}
}

// testKeeper holds for every store.
func testKeeper(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	t.Run("what is kept is read until it is erased", func(t *testing.T) {
		store := NewSQLStore(openDB(t, dsn(t)))
		files := &kept{records: make(map[string]audit.Record), contents: make(map[string]audit.Sealed)}
		d := newDesk(t, store, files, master("m1", "a"))
		if rec := d.call(t, "r0", "acme", "ada", "hello"); rec.ContentState() != "" {
			t.Fatalf("%+v", rec)
		}
		d.enable(t, "acme")
		for id, subject := range map[string]string{"r1": "ada", "r2": "bob"} {
			if rec := d.call(t, id, "acme", subject, "hello"); rec.ContentState() != audit.ContentKept {
				t.Fatalf("%+v", rec)
			}
			if got := d.read(t, "acme", id); got.GetState() != StateKept || !strings.Contains(got.GetRequest(), "hello") || !strings.Contains(got.GetAnswer(), `"content":"yes"`) {
				t.Fatalf("%v", got)
			}
		}
		if rec := d.call(t, "r3", "other", "ada", "hello"); rec.ContentState() != "" {
			t.Fatal("another tenant's is kept")
		}

		// In another's place nothing opens.
		swapped := files.contents["r1"]
		moved := files.records["r1"]
		moved.ID = "r1x"
		files.contents["r2"], files.contents["r1x"], files.records["r1x"] = swapped, swapped, moved
		if out, err := d.server.ReadAuditContent(as(t.Context(), "acme", "root"), &edgev1.ReadAuditContentRequest{Id: "r2"}); err != nil || out.GetState() != StateChanged {
			t.Errorf("%v, %v", out, err)
		}
		if out, err := d.server.ReadAuditContent(as(t.Context(), "acme", "root"), &edgev1.ReadAuditContentRequest{Id: "r1x"}); err == nil {
			t.Errorf("it opens for another record: %v", out)
		}

		again := newDesk(t, store, files, master("m2", "b"), master("m1", "a")) // the master key is rotated
		if got := again.read(t, "acme", "r1"); got.GetState() != StateKept {
			t.Fatalf("%v", got)
		}
		only := newDesk(t, store, files, master("m2", "b")) // and the old one given up
		if got := only.read(t, "acme", "r1"); got.GetState() != StateKept {
			t.Fatalf("%v", got)
		}
		lost := newDesk(t, store, files, master("m3", "c"))
		if _, err := lost.server.ReadAuditContent(as(t.Context(), "acme", "root"), &edgev1.ReadAuditContentRequest{Id: "r1"}); err == nil || !strings.Contains(err.Error(), "previous_keys") {
			t.Errorf("%v", err)
		}
		if rec := lost.call(t, "r4", "acme", "ada", "hello"); rec.ContentState() != audit.ContentMissing {
			t.Errorf("%+v", rec)
		}

		if _, err := only.server.DeleteSubjectContent(as(t.Context(), "acme", "root"), &edgev1.DeleteSubjectContentRequest{Subject: "ada"}); err != nil {
			t.Fatal(err)
		}
		if got := only.read(t, "acme", "r1"); got.GetState() != StateErased || got.GetRequest() != "" {
			t.Errorf("%v", got)
		}
		delete(files.contents, "r1")
		if got := only.read(t, "acme", "r1"); got.GetState() != StateErased || got.GetEraseTime() == nil {
			t.Errorf("%v", got)
		}
		// The edge that still knows the destroyed key gives it up with its next poll.
		if err := again.keys.Poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rec := again.call(t, "r5", "acme", "ada", "hello again"); rec.ContentState() != audit.ContentKept {
			t.Fatalf("%+v", rec)
		}
		if got := only.read(t, "acme", "r5"); got.GetState() != StateKept {
			t.Errorf("%v", got)
		}
		delete(files.contents, "r5")
		if got := only.read(t, "acme", "r5"); got.GetState() != StateLost {
			t.Errorf("%v", got)
		}
	})
	t.Run("what cannot be kept is said, and nobody waits", func(t *testing.T) {
		store := &gone{Store: NewSQLStore(openDB(t, dsn(t)))}
		files := &kept{records: make(map[string]audit.Record), contents: make(map[string]audit.Sealed)}
		d := newDesk(t, store, files, master("m1", "a"))
		d.enable(t, "acme")
		d.room = 10
		if rec := d.call(t, "r1", "acme", "ada", "hello"); rec.ContentState() != audit.ContentMissing || len(files.contents) != 0 {
			t.Errorf("%+v", rec)
		}
		if got := d.read(t, "acme", "r1"); got.GetState() != StateMissing {
			t.Errorf("%v", got)
		}
		d.room, store.away = 1<<20, true
		d.away.Store(true)
		if rec := d.call(t, "r2", "acme", "bob", "hello"); rec.ContentState() != audit.ContentMissing {
			t.Errorf("%+v", rec)
		}
	})
}

// Of a destroyed key SQLite's files hold nothing, nor of the master's wrapping before.
func TestDestroyedKeysAreNotInTheFiles(t *testing.T) {
	dsn := sqliteDSN(t)
	store := NewSQLStore(openDB(t, dsn))
	files := &kept{records: make(map[string]audit.Record), contents: make(map[string]audit.Sealed)}
	d := newDesk(t, store, files, master("m1", "a"))
	d.enable(t, "acme")
	for _, subject := range []string{"ada", "bob", "eve"} {
		d.call(t, subject, "acme", subject, "hello")
	}
	ada, bob := must(store.Key(t.Context(), "acme", "ada"))(t), must(store.Key(t.Context(), "acme", "bob"))(t)
	tenant := must(store.Tenant(t.Context(), "acme"))(t)
	look := func(what, text string, want bool) {
		t.Helper()
		found := false
		for _, suffix := range []string{"", "-wal", "-shm"} {
			raw, err := os.ReadFile(strings.TrimPrefix(dsn, "sqlite://") + suffix)
			found = found || err == nil && strings.Contains(string(raw), text)
		}
		if found != want {
			t.Errorf("%s in the files: %v", what, found)
		}
	}
	look("a key", ada.Wrapped, true)
	if _, err := d.server.DeleteSubjectContent(as(t.Context(), "acme", "root"), &edgev1.DeleteSubjectContentRequest{Subject: "ada"}); err != nil {
		t.Fatal(err)
	}
	look("the destroyed key", ada.Wrapped, false)
	look("another's key", bob.Wrapped, true)
	newDesk(t, store, files, master("m2", "b"), master("m1", "a"))
	look("the tenant's key as the old master key wrapped it", tenant.Wrapped, false)
	if _, err := d.server.DeleteTenantContent(as(t.Context(), "acme", "root"), &edgev1.DeleteTenantContentRequest{}); err != nil {
		t.Fatal(err)
	}
	look("the key of somebody of the tenant", bob.Wrapped, false)
}
