package responses

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
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
	testStore(t, NewSealed(openStore(t, sqliteDSN(t)), masters(t, "a")))
}

// What is sealed is read by the master key that it was sealed by, for the owner, the
// turn and the text that it was sealed for, and by nothing else.
func TestWhatIsSealed(t *testing.T) {
	ctx, now, plain := t.Context(), time.Now().UTC().Truncate(time.Microsecond), openStore(t, sqliteDSN(t))
	ada, bob := Owner{"acme", "ada"}, Owner{"acme", "bob"}
	turn := func(o Owner, id, previous, input, response string) Turn {
		return Turn{ID: id, Owner: o, Previous: previous, Input: input, Response: response, CreateTime: now, ExpireTime: now.Add(time.Hour)}
	}
	const asked, answered = `[{"content":"the question"}]`, `{"output":"the answer"}`
	sealed := NewSealed(plain, masters(t, "b"))
	if err := plain.Put(ctx, turn(ada, "old", "", asked, answered), 9); err != nil { // from before there was a key
		t.Fatal(err)
	}
	if err := sealed.Put(ctx, turn(ada, "new", "old", asked, answered), 9); err != nil {
		t.Fatal(err)
	}
	raw, err := plain.Chain(ctx, ada, "new", now, 9)
	if err != nil || len(raw) != 2 {
		t.Fatalf("%+v, %v", raw, err)
	}
	kept := raw[1]
	for _, text := range []string{kept.Input, kept.Response} {
		if !strings.HasPrefix(text, "sealed-1 b ") || strings.Contains(text, "the ") {
			t.Errorf("kept is %q", text)
		}
	}
	read := func(name string, s Store, o Owner, id string, want int, wantErr error) {
		t.Helper()
		turns, err := s.Chain(ctx, o, id, now, 9)
		if len(turns) != want || !errors.Is(err, wantErr) {
			t.Errorf("%s: %+v, %v", name, turns, err)
		}
		for _, got := range turns {
			if got.Input != asked || got.Response != answered {
				t.Errorf("%s: %+v", name, got)
			}
		}
	}
	read("by its key", sealed, ada, "new", 2, nil)
	read("once that is a previous one", NewSealed(plain, masters(t, "c", "b")), ada, "new", 2, nil)
	read("without it", NewSealed(plain, masters(t, "c")), ada, "new", 0, envelope.ErrUnknownMaster)
	for name, put := range map[string]Turn{
		"another's": turn(bob, "n1", "", kept.Input, kept.Response), "another turn": turn(ada, "n2", "", kept.Input, kept.Response),
		"cut": turn(ada, "n3", "", kept.Input[:len(kept.Input)-8], answered), "of no form": turn(ada, "n4", "", asked, "sealed-1 b"),
	} {
		if err := plain.Put(ctx, put, 9); err != nil {
			t.Fatal(err)
		}
		read(name, sealed, put.Owner, put.ID, 0, envelope.ErrOpen)
	}
	// A question in the place of an answer.
	if err := plain.Delete(ctx, ada, "new", now); err != nil {
		t.Fatal(err)
	}
	if err := plain.Put(ctx, turn(ada, "new", "", kept.Response, kept.Input), 9); err != nil {
		t.Fatal(err)
	}
	read("one text for the other", sealed, ada, "new", 0, envelope.ErrOpen)
	// What is missing before a turn is said, and the turn is read.
	if err := sealed.Put(ctx, turn(bob, "later", "gone", asked, answered), 9); err != nil {
		t.Fatal(err)
	}
	read("with a gap", sealed, bob, "later", 1, ErrBroken)
}
