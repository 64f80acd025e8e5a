package highlight

import (
	"html"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/poterne/poterne/services/search/internal/analysis"
)

func TestFragmentsMarkWordsAsTheyAreFound(t *testing.T) {
	got := Fragments("Each of the pilots' wings <b>flexes</b>, the wing's root does not.", analysis.Query("wing flexing"))
	want := "Each of the pilots&#39; <em>wings</em> &lt;b&gt;<em>flexes</em>&lt;/b&gt;, the <em>wing</em>&#39;s root does not."
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestFragmentsOfALongPassage(t *testing.T) {
	text := strings.Repeat("filler words here ", 40) + "needle " + strings.Repeat("more filler words ", 40) + "needle. " + strings.Repeat("le reste ", 50)
	got := Fragments(text, analysis.Query("needle"))
	if len(got) != 2 {
		t.Fatalf("%d fragments: %q", len(got), got)
	}
	for _, f := range got {
		if strings.Count(f, Open+"needle"+Close) != 1 || len(f) > 2*around {
			t.Errorf("fragment %q", f)
		}
	}
}

func TestNothingToHighlight(t *testing.T) {
	if got := Fragments("some text", analysis.Query("other")); got != nil {
		t.Errorf("got %q", got)
	}
}

func FuzzFragments(f *testing.F) {
	f.Add("l'été à la mer", "ete mer")
	f.Add(strings.Repeat("éa ", 200), "éa")
	f.Add("<em>x</em> & x", "x")
	f.Fuzz(func(t *testing.T, text, query string) {
		text, query = strings.ToValidUTF8(text, "?"), strings.ToValidUTF8(query, "?")
		fragments := Fragments(text, analysis.Query(query))
		if len(fragments) > MaxFragments {
			t.Fatalf("%d fragments", len(fragments))
		}
		for _, fr := range fragments {
			if !utf8.ValidString(fr) || !strings.Contains(fr, Open) {
				t.Fatalf("fragment %q of %q", fr, text)
			}
			bare := strings.ReplaceAll(strings.ReplaceAll(fr, Open, ""), Close, "")
			if strings.ContainsAny(bare, "<>") {
				t.Fatalf("fragment %q is not escaped", fr)
			}
			if !strings.Contains(text, html.UnescapeString(bare)) {
				t.Fatalf("fragment %q is not in %q", fr, text)
			}
		}
	})
}
