package rpc

import (
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
)

func FuzzPageToken(f *testing.F) {
	for _, s := range []string{"", "e30", encodePage("a", "x"), encodePage("b", "x"), "%%", "bnVsbA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		after, err := decodePage("a", token)
		switch {
		case err != nil && apierr.From(err).Field != "page_token":
			t.Fatalf("%q: %v", token, err)
		case err == nil && (after == "") != (token == ""):
			t.Fatalf("%q goes on after %q", token, after)
		}
	})
}

func TestPageTokensAreRead(t *testing.T) {
	for _, after := range []string{"x", "é/\"", "a b"} {
		if got, err := decodePage("list", encodePage("list", after)); err != nil || got != after {
			t.Errorf("%q became %q, %v", after, got, err)
		}
		if _, err := decodePage("other", encodePage("list", after)); err == nil {
			t.Errorf("a token of another list is taken")
		}
	}
}
