package store

import (
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
)

// rightsHoldInTheTransaction writes past whatever was checked before.
func rightsHoldInTheTransaction(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("open", "x"), version("theirs", "secret", "user:them"))
	held := map[int64]string{}
	at := replay(t, s, c, 1, held)

	me := Rights{Principals: []string{"user:me", "tenant:acme"}}
	write := func(by Rights, vs ...Version) string {
		t.Helper()
		out, _, err := s.Upsert(t.Context(), c, Write{By: by, Digest: "d1", Dimensions: 2, Documents: vs})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(out)
	}
	if got := write(me, version("open", "y"), version("theirs", "mine now"), version("new", "z")); got != "[{open false false false} {theirs false true false} {new true false false}]" {
		t.Error(got)
	}
	if got := write(me, version("theirs", "secret")); got != "[{theirs false true false}]" {
		t.Error(got)
	}
	if got := write(Rights{}, version("open", "y")); got != "[{open false true false}]" {
		t.Errorf("without any right: %s", got)
	}
	d, err := s.Document(t.Context(), c, []string{"user:them"}, "theirs")
	if err != nil || d.Text != "secret" || len(d.ACL) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if c, err := s.Collection(t.Context(), "acme", "c"); err != nil || c.DocumentCount != 3 || c.ChunkCount != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	existing, err := s.Existing(t.Context(), c, me, []string{"open", "theirs", "new", "missing"})
	if err != nil || len(existing) != 3 || existing["open"].Hidden || existing["new"].Hidden || !existing["theirs"].Hidden {
		t.Errorf("%+v, %v", existing, err)
	}
	if existing, err := s.Existing(t.Context(), c, Rights{All: true}, []string{"theirs"}); err != nil || existing["theirs"].Hidden {
		t.Errorf("%+v, %v", existing, err)
	}
	if got := write(Rights{All: true}, version("theirs", "published", "user:them")); got != "[{theirs false false false}]" {
		t.Error(got)
	}
	// Generations that were passed over lead followers nowhere wrong.
	replay(t, s, c, at, held)
	if truth, _ := snapshot(t, s, c); fmt.Sprint(truth) != fmt.Sprint(held) {
		t.Errorf("a follower has %v, the truth %v", held, truth)
	}
	if _, err := s.DeleteDocument(t.Context(), c, Rights{}, "open"); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("without any right: %v", err)
	}
	if _, err := s.DeleteDocument(t.Context(), c, Rights{All: true}, "theirs"); err != nil {
		t.Error(err)
	}
}
