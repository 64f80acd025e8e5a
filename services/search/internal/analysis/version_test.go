package analysis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Whoever changes what terms a text has changes Version, too, and then this hash:
// indexes that hold other terms are told by it.
func TestOtherTermsAreAnotherVersion(t *testing.T) {
	const want = "2:2a652fce317a9d3b"
	texts := []string{
		"The pilots' wings aren't flexing; the colour of the centre was analysed, organised and modelled in 1957 (3.5%).",
		"What we've seen of high-speed flow's boundary-layers, ourselves, is generalised from vapour behaviours again.",
		"L'économie générale des châteaux d'Œuvres qu'ils auraient vendus lorsqu'elle s'était effondrée évidemment.",
		"Les journaux nationaux ont été publiés aujourd’hui ; ils seraient nombreux et financièrement établis à l'étranger.",
		"STRASSE Straße søren Łódź đ ﬁn 日本語のテキスト π≈3,14 C++ foo_bar user@example.org",
	}
	h := sha256.New()
	for _, s := range texts {
		fmt.Fprintln(h, strings.Join(Analyze(s), " "))
		for _, term := range Query(s) {
			fmt.Fprintln(h, term.Count, strings.Join(term.Variants, " "))
		}
	}
	got := fmt.Sprintf("%d:%s", Version, hex.EncodeToString(h.Sum(nil))[:16])
	if got != want {
		t.Errorf("the terms are %s, want %s: is this another Version?", got, want)
	}
}
