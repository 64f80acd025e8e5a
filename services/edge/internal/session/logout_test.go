package session

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSQLiteProviderLogout(t *testing.T) { testProviderLogout(t, sqliteDSN(t)) }

// testProviderLogout is what every store does with what a provider says has ended.
func testProviderLogout(t *testing.T, dsn string) {
	t.Helper()
	s, ctx := openSQL(t, dsn), t.Context()
	for i, at := range []AtProvider{{}, {"ana", "one"}, {"ana", "two"}, {"ana", ""}, {"bob", "three"}, {"bob", "one"}, {"", ""}} {
		r := record(i, "somebody")
		r.Provider = at
		if i == 5 {
			r.Issuer = "https://other.example"
		}
		if got, err := s.Create(ctx, r, 100); err != nil || got.Provider != at {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	tokens := 0
	end := func(subject, session string) string {
		t.Helper()
		tokens++
		ended, err := s.EndAtProvider(ctx, ProviderLogout{
			Issuer: "https://id.example", At: AtProvider{subject, session}, Token: fmt.Sprint(tokens), Until: start().Add(time.Hour), Time: start().Add(time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range ended {
			if !r.EndTime.Equal(start().Add(time.Minute)) || r.Revision == 0 {
				t.Errorf("%+v", r)
			}
			if got, err := s.Get(ctx, r.Hash); err != nil || !got.EndTime.Equal(r.EndTime) || got.Provider != r.Provider {
				t.Errorf("%+v, %v", got, err)
			}
			ids = append(ids, strings.TrimLeft(r.ID, "0"))
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	for _, tt := range []struct{ subject, session, ended string }{
		{"", "", ""}, // nobody and nothing is not everybody without a name
		{"bob", "one", ""},
		{"ana", "three", "3"}, // of 3 is not known which login it is
		{"ana", "one", "1"},
		{"ana", "one", ""},
		{"", "three", "4"},
		{"ana", "", "2"},
		{"x", "", ""},
	} {
		if got := end(tt.subject, tt.session); got != tt.ended {
			t.Errorf("%+v: ended are %q", tt, got)
		}
	}
	// Used tokens are refused, and forgotten when they would be refused anyway.
	used := ProviderLogout{Issuer: "https://id.example", At: AtProvider{Subject: "x"}, Token: "1", Until: start().Add(time.Hour), Time: start()}
	if _, err := s.EndAtProvider(ctx, used); !errors.Is(err, ErrUsed) {
		t.Errorf("used again: %v", err)
	}
	if _, err := s.Prune(ctx, start().Add(2*time.Hour), start().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.EndAtProvider(ctx, used); err != nil {
		t.Errorf("forgotten: %v", err)
	}
}

// What a provider ends is seen by every edge with its next poll.
func TestProviderLogoutOnTwoEdges(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := newBench(t, openSQL(t, dsn), "https://id.example"), newBench(t, openSQL(t, dsn), "https://id.example")
	_, secret := one.create(t)
	if one.cause(t, secret) != "" || two.cause(t, secret) != "" {
		t.Fatal("a new session is refused")
	}
	ended, err := two.EndAtProvider(t.Context(), AtProvider{Session: "login-1"}, "token-1", start().Add(time.Minute))
	if err != nil || len(ended) != 1 || two.cause(t, secret) != Ended {
		t.Fatalf("%+v, %v", ended, err)
	}
	if err := one.Follow(t.Context()); err != nil || one.cause(t, secret) != Ended {
		t.Errorf("the other edge goes on: %v", err)
	}
	if _, err := one.EndAtProvider(t.Context(), AtProvider{Session: "login-1"}, "token-1", start().Add(time.Minute)); !errors.Is(err, ErrUsed) {
		t.Errorf("the token again, at the other edge: %v", err)
	}
}
