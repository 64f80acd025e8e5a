package apikey

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
)

func newKey(tb testing.TB) Key {
	tb.Helper()
	k, err := Generate(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func TestKeyRoundTrip(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		k := newKey(t)
		text := k.Reveal()
		back, err := Parse(text)
		if err != nil || back != k {
			t.Fatalf("%q is read back as %q, %v", text, back.Reveal(), err)
		}
		if seen[k.ID] || seen[text] {
			t.Fatal("the same key twice")
		}
		seen[k.ID], seen[text] = true, true
	}
}

func TestKeyFormIsFixed(t *testing.T) {
	// Keys that were given out must hold for ever.
	k, err := Generate(bytes.NewReader(bytes.Repeat([]byte{0xA5}, idBytes+secretBytes)))
	if err != nil {
		t.Fatal(err)
	}
	const want = "ptn_mpjtb9d5mpjtb9d5_dHMOUNLh0UTx6gmQ9MHQdRUvZdbXMLLlzChlYYN1shx31tayT"
	if got := k.Reveal(); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestGenerateNeedsRandomness(t *testing.T) {
	if _, err := Generate(io.LimitReader(rand.Reader, idBytes+secretBytes-1)); err == nil {
		t.Fatal("a key was made without enough randomness")
	}
}

func TestTypingErrorsAreFound(t *testing.T) {
	text := newKey(t).Reveal()
	for i := range len(text) {
		for _, c := range []byte("aZ9_-\x00") {
			if text[i] == c {
				continue
			}
			wrong := text[:i] + string(c) + text[i+1:]
			if _, err := Parse(wrong); err == nil {
				t.Fatalf("%q was read as %q", wrong, text)
			} else if strings.Contains(err.Error(), wrong) {
				t.Fatal("the error shows what may be a key")
			}
		}
	}
	for _, wrong := range []string{"", "ptn_", text[1:], text + "0", text[:keyLen-1], strings.ToUpper(text), " " + text} {
		if _, err := Parse(wrong); err == nil {
			t.Errorf("%q was accepted", wrong)
		}
	}
}

func TestKeyDoesNotShowItself(t *testing.T) {
	k := newKey(t)
	for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%x", "%s"} {
		s := fmt.Sprintf(verb, k)
		if strings.Contains(s, k.Reveal()) || strings.Contains(s, fmt.Sprintf("%x", k.Reveal())) {
			t.Errorf("the key shows itself: %s", s)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("ptn_0123456789abcdef_")
	f.Add("sk-proj-abc")
	k, err := Generate(bytes.NewReader(make([]byte, idBytes+secretBytes)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Reveal())
	f.Fuzz(func(t *testing.T, text string) {
		k, err := Parse(text)
		if err != nil {
			return
		}
		if k.Reveal() != text {
			t.Fatalf("%q is read as %q", text, k.Reveal())
		}
		if !strings.Contains(text, "_"+k.ID+"_") || !validID(k.ID) {
			t.Fatalf("%q has id %q", text, k.ID)
		}
	})
}
