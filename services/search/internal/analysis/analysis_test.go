package analysis

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/blevesearch/segment"
)

func TestSpellingsOfAWordMeet(t *testing.T) {
	for _, tc := range []struct{ query, passage string }{
		{"economie", "L’économie française est en croissance."},
		{"Économies", "les economies du pays sont dans le rouge"},
		{"avion", "C'est l'avion qui a été construit pour nous"},
		{"avions", "un avion est dans le ciel"},
		{"châteaux", "le château de la ville est dans la plaine"},
		{"journal", "les journaux sont dans la rue"},
		{"wing", "the wings of the aircraft"},
		{"computing", "what is computed by the machine"},
		{"pilot", "the pilot’s seat is in the front"},
		{"oeuvre", "une œuvre d'art qui est dans le musée"},
		{"STRASSE", "die Straße"},
		{"flow", "flow"},
		{"color", "the colours of the sky"},
		{"centre", "the heat centers of the plate"},
		{"organization", "it was organised by us"},
		{"analyze", "what was analysed there"},
		{"revision", "it is revised"},
		{"precisely", "a precise number of the parts"},
		{"exercising", "the exercise of rights"},
	} {
		terms := Analyze(tc.passage)
		found := slices.ContainsFunc(Query(tc.query)[0].Variants, func(v string) bool {
			return slices.Contains(terms, v)
		})
		if !found {
			t.Errorf("query %q (%v) does not meet %q (%v)", tc.query, Query(tc.query), tc.passage, terms)
		}
	}
}

func TestQueryLeavesFunctionWordsOut(t *testing.T) {
	got := Query("what are the problems of the flow of the flows")
	var words []string
	for _, q := range got {
		words = append(words, q.Variants[0])
	}
	if want := []string{"problem", "flow"}; !slices.Equal(words, want) {
		t.Errorf("got %v, want %v", words, want)
	}
	if got[1].Count != 2 {
		t.Errorf("flow was counted %d times, want 2", got[1].Count)
	}
}

func TestQueryOfFunctionWordsAloneKeepsThem(t *testing.T) {
	terms := Analyze("To be, or not to be: that is the question.")
	for _, q := range Query("to be or not to be") {
		if !slices.Contains(terms, q.Variants[0]) {
			t.Errorf("%v is not among %v", q, terms)
		}
	}
	if got := len(Query("to be or not to be")); got != 4 {
		t.Errorf("%d words are looked for, want 4", got)
	}
}

// A word is looked for as both languages stem it unless the query is English.
func TestQueryIsLookedForInBothLanguages(t *testing.T) {
	for query, want := range map[string]int{
		"national debts":                2, // no function word tells
		"les dettes d'un état national": 2,
		"the debts of a national state": 1,
	} {
		for _, q := range Query(query) {
			if strings.HasPrefix(q.Variants[0], "nation") && len(q.Variants) != want {
				t.Errorf("%q looks for %v, want %d", query, q.Variants, want)
			}
		}
	}
}

func TestWordsWithoutBritishSpellingStay(t *testing.T) {
	for _, w := range []string{
		"four", "hour", "contour", "glamour", "tour", "noise", "raise", "exercise", "revise", "precise", "concise", "surprise",
		"advertise", "promise", "otherwise", "expertise", "rise", "paradise", "entree", "street", "mattress", "franchise", "despise",
	} {
		if got := american(w); got != w {
			t.Errorf("%s became %s", w, got)
		}
	}
}

func TestTokensSayWhereTheyAre(t *testing.T) {
	const text = "L'Économie: the pilot's œuvre"
	for _, tok := range Tokens(text) {
		if got := Fold(text[tok.Start:tok.End]); got != tok.Word {
			t.Errorf("token %q lies at %q", tok.Word, got)
		}
	}
}

func TestLongWordsAreNotIndexed(t *testing.T) {
	if got := Analyze(strings.Repeat("x", maxTermBytes+1)); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func FuzzAnalyze(f *testing.F) {
	for _, s := range []string{"", "l'avion", "\u2007\u00a0x", "ﬁn\u0301", "日本語のテキスト", "\xff\xfe", "'s", "qu'"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range Tokens(s) {
			if tok.Start < 0 || tok.End > len(s) || tok.Start >= tok.End {
				t.Fatalf("token %+v lies outside of %q", tok, s)
			}
		}
		for _, term := range Analyze(s) {
			if term == "" || strings.ContainsFunc(term, unicode.IsSpace) {
				t.Fatalf("term %q of %q would not survive being split at spaces", term, s)
			}
		}
		for _, q := range Query(s) {
			if len(q.Variants) == 0 || q.Count < 1 {
				t.Fatalf("query term %+v of %q is empty", q, s)
			}
		}
	})
}

// Words are found in pieces of a text, and stems remembered: neither may change
// what is found.
func FuzzWordsAreSegments(f *testing.F) {
	for _, s := range []string{
		"", "plain words, and (marks).", "snake_case _x_ x_", "3.14 1,000 a.b can't l'eau O'Neil's", "\u0301abc a\u0301 \u200d x\u00ad y",
		"café 日本 x", "a\u00a0b\u2028c\u0085d", "'s '' x' ...", "tab\tline\r\nend\v\f", "\xffab c", "👩‍👩‍👧 ok 🇫🇷", "co-op e-mail a/b c:d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var want []Token
		segments(s, 0, func(tok Token) { want = append(want, tok) })
		if got := Tokens(s); !slices.Equal(got, want) {
			t.Fatalf("%q has the words %v, want %v", s, got, want)
		}
		if n := Count(s); n != len(want) {
			t.Fatalf("%q has %d words, want %d", s, n, len(want))
		}
		all := 0
		seg := segment.NewWordSegmenterDirect([]byte(s))
		for seg.Segment() {
			if seg.Type() != segment.None {
				all++
			}
		}
		if n := Segments(s); n != all {
			t.Fatalf("%q has %d segments that are words, want %d", s, n, all)
		}
		a := NewAnalyzer()
		for range 2 {
			if got, want := a.Analyze(s), Analyze(s); !slices.Equal(got, want) {
				t.Fatalf("%q has the terms %v, want %v", s, got, want)
			}
		}
	})
}
