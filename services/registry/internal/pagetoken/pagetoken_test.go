package pagetoken_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/registry/internal/pagetoken"
)

func TestRoundTrip(t *testing.T) {
	for _, key := range []string{"", "a", "7", strings.Repeat("k", pagetoken.MaxKey)} {
		got, err := pagetoken.Decode("models", pagetoken.Encode("models", key))
		if err != nil || got != key {
			t.Errorf("key %q: got %q, %v", key, got, err)
		}
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	good := pagetoken.Encode("versions/a", "12")
	changed := []byte(good)
	changed[len(changed)-2]++
	tests := map[string]string{
		"empty":           "",
		"not base64":      "!!!",
		"padded":          good + "=",
		"with a newline":  good + "\n",
		"short":           good[:8],
		"changed":         string(changed),
		"of another list": pagetoken.Encode("versions/b", "12"),
		"scope moved":     pagetoken.Encode("versions/", "a12"),
		"other version":   base64.RawURLEncoding.EncodeToString(append([]byte{2}, make([]byte, 12)...)),
		"too long":        strings.Repeat("A", 4096),
	}
	for name, token := range tests {
		if key, err := pagetoken.Decode("versions/a", token); !errors.Is(err, pagetoken.ErrInvalid) {
			t.Errorf("%s: got %q, %v; want ErrInvalid", name, key, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("models", pagetoken.Encode("models", "llama"))
	f.Add("models", "AQ")
	f.Fuzz(func(t *testing.T, scope, token string) {
		key, err := pagetoken.Decode(scope, token)
		if err == nil && pagetoken.Encode(scope, key) != token {
			t.Errorf("token %q is a second spelling of key %q", token, key)
		}
	})
}
