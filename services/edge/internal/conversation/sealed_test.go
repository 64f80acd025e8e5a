package conversation_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

func masters(t *testing.T, names ...string) *envelope.Masters {
	t.Helper()
	keys := make([]config.Secret, len(names))
	for i, name := range names {
		keys[i] = config.Secret(name + ":" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(name[:1], 32))))
	}
	m, err := envelope.ParseMasters(keys[0], keys[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestSealedStore(t *testing.T) {
	s := conversation.NewSealed(sqlite(t), masters(t, "a"))
	testStore(t, s, true)
	testConcurrent(t, s)
}

// What is sealed is read by the master key that it was sealed by, for the owner and the
// name that it was sealed for, and by nothing else.
func TestWhatIsSealed(t *testing.T) {
	ctx, now, plain := t.Context(), time.Now().UTC().Truncate(time.Microsecond), sqlite(t)
	ada, bob := conversation.Owner{Tenant: "acme", Subject: "ada"}, conversation.Owner{Tenant: "acme", Subject: "bob"}
	record := func(id, body string, version int64) conversation.Record {
		return conversation.Record{ID: id, Version: version, CreateTime: now, UpdateTime: now, ExpireTime: now.Add(time.Hour), Body: body, Turns: 1}
	}
	const secret = `{"turns":[{"messages":[{"content":"the secret"}]}]}`
	sealed := conversation.NewSealed(plain, masters(t, "b"))
	if err := sealed.Write(ctx, ada, record("talk", secret, 1), 0, 9); err != nil {
		t.Fatal(err)
	}
	kept, err := plain.Read(ctx, ada, "talk", now)
	if err != nil || strings.Contains(kept.Body, "secret") || !strings.HasPrefix(kept.Body, "sealed-1 b ") {
		t.Fatalf("kept is %q, %v", kept.Body, err)
	}
	read := func(name string, s conversation.Store, o conversation.Owner, id string, want string, wantErr error) {
		t.Helper()
		if r, err := s.Read(ctx, o, id, now); r.Body != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %q, %v", name, r.Body, err)
		}
	}
	read("by its key", sealed, ada, "talk", secret, nil)
	read("once that is a previous one", conversation.NewSealed(plain, masters(t, "c", "b")), ada, "talk", secret, nil)
	read("without it", conversation.NewSealed(plain, masters(t, "c")), ada, "talk", "", envelope.ErrUnknownMaster)

	// Put in the place of another's, of another conversation, or changed.
	for name, put := range map[string]struct {
		o    conversation.Owner
		id   string
		body string
	}{
		"another's": {bob, "talk", kept.Body}, "another conversation": {ada, "other", kept.Body},
		"cut": {ada, "cut", kept.Body[:len(kept.Body)-8]}, "of no form": {ada, "odd", "sealed-1 b"}, "no base64": {ada, "odd2", kept.Body + "!"},
	} {
		if err := plain.Write(ctx, put.o, record(put.id, put.body, 1), 0, 9); err != nil {
			t.Fatal(err)
		}
		read(name, sealed, put.o, put.id, "", envelope.ErrOpen)
	}

	// What was kept before there was a key is read, and sealed when it changes.
	if err := plain.Write(ctx, bob, record("old", secret, 1), 0, 9); err != nil {
		t.Fatal(err)
	}
	read("from before", sealed, bob, "old", secret, nil)
	if err := sealed.Write(ctx, bob, record("old", secret, 2), 1, 9); err != nil {
		t.Fatal(err)
	}
	if kept, err := plain.Read(ctx, bob, "old", now); err != nil || strings.Contains(kept.Body, "secret") {
		t.Errorf("kept is %q, %v", kept.Body, err)
	}
	read("and is read again", sealed, bob, "old", secret, nil)
}
