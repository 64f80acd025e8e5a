package responseid_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/responseid"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

var now = time.Unix(1_900_000_000, 0)

func ana() identity.Caller { return identity.Caller{Tenant: "acme", Subject: "ana"} }

func served() responseid.Served {
	return responseid.Served{Model: "m", Experiment: "e", Arm: "candidate", Version: 300}
}

func TestIDs(t *testing.T) {
	s := responseid.New([]byte(strings.Repeat("k", 32)))
	id := s.Make("chatcmpl-", ana(), served(), now)
	if !strings.HasPrefix(id, "chatcmpl-") || id == s.Make("chatcmpl-", ana(), served(), now) {
		t.Errorf("the id is %q", id)
	}
	a, err := s.Read(id, ana())
	if err != nil || a.Served != served() || !a.Made.Equal(now) {
		t.Errorf("read %+v, %v", a, err)
	}
	for _, name := range []string{"acme", "ana"} {
		raw, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(id, "chatcmpl-"))
		if strings.Contains(string(raw), name) {
			t.Errorf("the id holds %q", name)
		}
	}
	for what, read := range map[string]func() error{
		"another subject's": func() error { _, err := s.Read(id, identity.Caller{Tenant: "acme", Subject: "ben"}); return err },
		"another tenant's":  func() error { _, err := s.Read(id, identity.Caller{Tenant: "other", Subject: "ana"}); return err },
		"names that run together": func() error {
			_, err := s.Read(id, identity.Caller{Tenant: "acmea", Subject: "na"})
			return err
		},
		"another key's": func() error {
			_, err := responseid.New([]byte(strings.Repeat("o", 32))).Read(id, ana())
			return err
		},
		"an engine's": func() error { _, err := s.Read("chatcmpl-123", ana()); return err },
		"nothing":     func() error { _, err := s.Read("", ana()); return err },
	} {
		if err := read(); !errors.Is(err, responseid.ErrUnknown) {
			t.Errorf("%s id: %v", what, err)
		}
	}
	// No character of it can be another one.
	for i := len("chatcmpl-"); i < len(id); i++ {
		changed := []byte(id)
		changed[i] ^= 1
		if _, err := s.Read(string(changed), ana()); err == nil {
			t.Errorf("a change at %d is not seen", i)
		}
	}
}

// However an id is written, it names one answer: otherwise one could be judged as
// often as one likes.
func TestOneKeyForOneAnswer(t *testing.T) {
	s := responseid.New([]byte(strings.Repeat("k", 32)))
	id := s.Make("chatcmpl-", ana(), served(), now)
	want, err := s.Read(id, ana())
	if err != nil || want.Key == "" {
		t.Fatal(want, err)
	}
	_, signed, _ := strings.Cut(id, "-")
	for _, other := range []string{"cmpl-" + signed, "-" + signed, "a-" + signed, id[:20] + "\n" + id[20:], id + "\r\n"} {
		if a, err := s.Read(other, ana()); err == nil && a.Key != want.Key {
			t.Errorf("%q is another answer", other)
		}
	}
	if again, err := s.Read(s.Make("chatcmpl-", ana(), served(), now), ana()); err != nil || again.Key == want.Key {
		t.Errorf("two answers have one key: %v", err)
	}
}

func TestReplicasShareTheKey(t *testing.T) {
	cfg := sqldb.DefaultConfig("sqlite://" + filepath.Join(t.TempDir(), "edge.db"))
	var ids []string
	for range 2 {
		db, err := schema.Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		s, err := responseid.Load(t.Context(), db, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.Make("cmpl-", ana(), served(), now))
		for _, id := range ids {
			if _, err := s.Read(id, ana()); err != nil {
				t.Error(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzRead(f *testing.F) {
	s := responseid.New([]byte(strings.Repeat("k", 32)))
	f.Add(s.Make("chatcmpl-", ana(), served(), now))
	f.Add("chatcmpl-AQ")
	f.Fuzz(func(t *testing.T, id string) {
		a, err := s.Read(id, ana())
		if err == nil && a.Served != served() {
			t.Errorf("%q is taken for %+v", id, a)
		}
	})
}

func BenchmarkMake(b *testing.B) {
	s := responseid.New([]byte(strings.Repeat("k", 32)))
	for b.Loop() {
		s.Make("chatcmpl-", ana(), served(), now)
	}
}
