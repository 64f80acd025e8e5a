package envelope_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/envelope"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func master(name string, fill byte) config.Secret {
	return config.Secret(name + ":" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32)))
}

// Whatever is sealed opens to what it was for what it was bound to, and for nothing
// else, however it is changed.
func TestSealedContent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		content := make([]byte, rng.IntN(2000))
		for i := range content {
			content[i] = byte(rng.Uint32())
		}
		k, other, id := must(envelope.NewKey()), must(envelope.NewKey()), must(envelope.NewKeyID())
		bound := []string{"record", "acme", fmt.Sprint(rng.Uint32())}
		sealed := must(k.Seal(id, content, bound...))
		if got, err := k.Open(sealed, bound...); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%v", err)
		}
		if got := must(envelope.SealedBy(sealed)); got != id || must(envelope.ParseKeyID(id.String())) != id {
			t.Fatalf("%v", got)
		}
		if len(content) > 8 && bytes.Contains(sealed, content[:8]) {
			t.Fatal("the content shows")
		}
		changed := bytes.Clone(sealed)
		changed[rng.IntN(len(changed))] ^= 1 << rng.IntN(8)
		for name, err := range map[string]error{
			"changed":        second(k.Open(changed, bound...)),
			"cut":            second(k.Open(sealed[:rng.IntN(len(sealed))], bound...)),
			"longer":         second(k.Open(append(bytes.Clone(sealed), 0), bound...)),
			"another key":    second(other.Open(sealed, bound...)),
			"another tenant": second(k.Open(sealed, "record", "acmf", bound[2])),
			"other borders":  second(k.Open(sealed, "recorda", "cme", bound[2])),
			"fewer":          second(k.Open(sealed, bound[:2]...)),
		} {
			if err == nil {
				t.Fatalf("%s opens", name)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestWrappedKeys(t *testing.T) {
	old := must(envelope.ParseMasters(master("m1", 1)))
	both := must(envelope.ParseMasters(master("m2", 2), master("m1", 1)))
	k := must(envelope.NewKey())
	wrapped := must(old.Wrap(k, "acme"))
	if got, err := both.Unwrap("m1", wrapped, "acme"); err != nil || got != k || both.Current() != "m2" {
		t.Fatalf("%v", err)
	}
	for name, err := range map[string]error{
		"another tenant": second(both.Unwrap("m1", wrapped, "acmf")),
		"another master": second(both.Unwrap("m2", wrapped, "acme")),
		"no base64":      second(both.Unwrap("m1", "!", "acme")),
		"empty":          second(both.Unwrap("m1", "", "acme")),
	} {
		if !errors.Is(err, envelope.ErrOpen) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := both.Unwrap("m3", wrapped, "acme"); !errors.Is(err, envelope.ErrUnknownMaster) {
		t.Errorf("%v", err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(text, "0x") || strings.ContainsAny(text, "0123456789") {
		t.Errorf("the key shows: %s", text)
	}
}

func TestMasterKeysAreRefused(t *testing.T) {
	const secret = "hunter2hunter2hunter2hunter2"
	for name, in := range map[string][]config.Secret{
		"empty": {""}, "no name": {secret}, "a short key": {"m1:aGVsbG8="}, "a bad name": {config.Secret("M 1" + string(master("", 1)))},
		"one name twice": {master("m1", 1), master("m1", 2)}, "too many": make([]config.Secret, 20),
		"loose base64": {config.Secret(strings.TrimRight(string(master("m1", 1)), "="))},
	} {
		if _, err := envelope.ParseMasters(in[0], in[1:]...); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing that is not sealed opens, and the decoder ends on everything.
func FuzzOpen(f *testing.F) {
	k, id := envelope.Key{1}, envelope.KeyID{2}
	f.Add(must(k.Seal(id, []byte("hello"), "r")), "r")
	f.Add([]byte("PAC1"), "")
	f.Fuzz(func(t *testing.T, sealed []byte, bound string) {
		_, err := envelope.SealedBy(sealed)
		content, bad := k.Open(sealed, bound)
		if err != nil && bad == nil {
			t.Fatal("it opens without a header")
		}
		if bad == nil && (string(content) != "hello" || bound != "r") {
			t.Fatalf("a forgery: %q", content)
		}
		if _, err := k.Unwrap(string(sealed), bound); err == nil {
			t.Fatal("a forged key")
		}
	})
}
