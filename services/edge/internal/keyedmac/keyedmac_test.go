package keyedmac_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/services/edge/internal/keyedmac"
)

// Every sum is the one that crypto/hmac makes anew, whatever was signed before, with
// what, and beside it.
func TestSums(t *testing.T) {
	keys := [][]byte{nil, []byte("k"), []byte(strings.Repeat("long", 40))}
	texts := []string{"", "a", "ab", strings.Repeat("x", 10_000), "b"}
	var wg sync.WaitGroup
	for _, key := range keys {
		k := keyedmac.New(key)
		for range 4 {
			wg.Go(func() {
				for range 50 {
					for _, text := range texts {
						m := k.Begin()
						m.AddString(text[:len(text)/2])
						m.Add([]byte(text[len(text)/2:]))
						want := hmac.New(sha256.New, key)
						want.Write([]byte(text))
						if got := m.Append(nil); !hmac.Equal(got, want.Sum(nil)) {
							t.Errorf("key of %d bytes, text of %d: %x", len(key), len(text), got)
						}
					}
				}
			})
		}
	}
	wg.Wait()
}

// The example of RFC 4231, section 4.3.
func TestHex(t *testing.T) {
	m := keyedmac.New([]byte("Jefe")).Begin()
	m.AddString("what do ya want for nothing?")
	if got := string(m.AppendHex([]byte("="))); got != "=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" {
		t.Error(got)
	}
}

// The race detector empties pools now and then; what is made anew each time allocates
// eight times.
func TestAllocatesLittle(t *testing.T) {
	k := keyedmac.New([]byte("key"))
	var sum [keyedmac.Size]byte
	if n := testing.AllocsPerRun(200, func() {
		m := k.Begin()
		m.AddString("some text")
		m.Append(sum[:0])
	}); n > 4 {
		t.Errorf("a sum allocates %v times", n)
	}
}
