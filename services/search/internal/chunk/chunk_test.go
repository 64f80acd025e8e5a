package chunk

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func texts(text string, spans []Span) []string {
	var out []string
	for _, s := range spans {
		out = append(out, text[s.Start:s.End])
	}
	return out
}

func TestShortParagraphsShareAPassage(t *testing.T) {
	text := "First paragraph.\n\nSecond one.\r\n \r\n  Third.  "
	got := texts(text, Split(text, DefaultOptions()))
	if len(got) != 1 || got[0] != strings.TrimSpace(text) {
		t.Errorf("got %q", got)
	}
}

func TestPassagesEndBetweenParagraphs(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("word ", 150))
	text := long + "\n\n" + long
	got := Split(text, DefaultOptions())
	if len(got) != 2 || text[got[1].Start:got[1].End] != long {
		t.Errorf("got %d passages: %v", len(got), got)
	}
}

func TestLongParagraphIsCutBetweenSentencesWithOverlap(t *testing.T) {
	var b strings.Builder
	for i := range 80 {
		fmt.Fprintf(&b, "Sentence %d has exactly these eight words in. ", i)
	}
	text := b.String()
	o := DefaultOptions()
	spans := Split(text, o)
	if len(spans) < 3 {
		t.Fatalf("got %d passages", len(spans))
	}
	for i, s := range spans {
		p := text[s.Start:s.End]
		if !strings.HasPrefix(p, "Sentence") || !strings.HasSuffix(p, ".") {
			t.Errorf("passage %d is cut inside a sentence: %q", i, p)
		}
		if n := words(p); n > o.MaxWords {
			t.Errorf("passage %d has %d words", i, n)
		}
		if i > 0 {
			shared := spans[i-1].End - s.Start
			if shared <= 0 || words(text[s.Start:spans[i-1].End]) > o.OverlapWords {
				t.Errorf("passage %d repeats %d bytes of the one before", i, shared)
			}
		}
	}
}

func TestEndlessWordIsBounded(t *testing.T) {
	text := strings.Repeat("é", 10_000)
	o := DefaultOptions()
	spans := Split(text, o)
	checkSplit(t, text, spans, o)
	if len(spans) < 5 {
		t.Errorf("got %d passages", len(spans))
	}
}

func TestWhiteSpaceHasNoPassages(t *testing.T) {
	if got := Split(" \n\n\t\u00a0\n", DefaultOptions()); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestHeadingsOpenPassages(t *testing.T) {
	text := "# Guide\n\n## Install\n\nRun this:\n\n```sh\nmake\n\nmake install\n```\n\n## Use\n\n- one\n- two\n\n  with more\n\nLast words.\n\nOld style\n---------\nUnderlined."
	o := DefaultOptions()
	o.Structure = true
	got := texts(text, Split(text, o))
	want := []string{
		"# Guide\n\n## Install\n\nRun this:\n\n```sh\nmake\n\nmake install\n```",
		"## Use\n\n- one\n- two\n\n  with more\n\nLast words.", "Old style\n---------\nUnderlined.",
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestCodeIsCutBetweenLines(t *testing.T) {
	line := "value := compute(first, second) // explains it. And more.\n"
	text := "Before it.\n\n```go\n" + strings.Repeat(line, 30) + "```\n\nAfter it."
	o := DefaultOptions()
	o.Structure, o.MaxTokens = true, 100
	spans := Split(text, o)
	checkSplit(t, text, spans, o)
	for _, p := range texts(text, spans)[1 : len(spans)-1] {
		if !strings.HasPrefix(p, "```go") && !strings.HasPrefix(p, "value") || !strings.HasSuffix(p, "more.") && !strings.HasSuffix(p, "```") {
			t.Errorf("cut within a line: %q", p)
		}
	}
	if len(spans) < 5 {
		t.Errorf("%d passages", len(spans))
	}
}

func checkSplit(t *testing.T, text string, spans []Span, o Options) {
	t.Helper()
	covered := 0
	for i, s := range spans {
		if s.Start >= s.End || s.End > len(text) || s.Start < 0 {
			t.Fatalf("passage %d is %v of %d bytes", i, s, len(text))
		}
		p := text[s.Start:s.End]
		if strings.TrimFunc(p, unicode.IsSpace) != p {
			t.Fatalf("passage %d is not trimmed: %q", i, p)
		}
		if len(p) > o.MaxBytes {
			t.Fatalf("passage %d has %d bytes", i, len(p))
		}
		if n := Tokens(p); o.MaxTokens > 0 && n > o.MaxTokens {
			t.Fatalf("passage %d has %d tokens: %q", i, n, p)
		}
		if !utf8.ValidString(p) {
			t.Fatalf("passage %d is cut inside a rune", i)
		}
		if i > 0 && (s.Start <= spans[i-1].Start || s.End <= spans[i-1].End) {
			t.Fatalf("passage %d %v does not go on from %v", i, s, spans[i-1])
		}
		if s.Start > covered && strings.TrimFunc(text[covered:s.Start], unicode.IsSpace) != "" {
			t.Fatalf("text between %d and %d is in no passage", covered, s.Start)
		}
		covered = max(covered, s.End)
	}
	if strings.TrimFunc(text[covered:], unicode.IsSpace) != "" {
		t.Fatalf("text from %d on is in no passage", covered)
	}
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "One. Two! Three?\n\nFour", strings.Repeat("a b. ", 50), "\xff\xfe. \n\n", "日本語。テキスト。", strings.Repeat("x", 200)} {
		f.Add(s, 5, 2, 40, 0, false)
	}
	for _, s := range []string{"# A\n\n## B\ntext\n\n- one\n- two\n  more\n\nend", "```go\nx := 1\n\ny\n```\nafter", "a | b\n1 | 2\n\nT\n===\nx", "~~~\nopen"} {
		f.Add(s, 5, 2, 40, 16, true)
	}
	f.Fuzz(func(t *testing.T, text string, maxWords, overlapWords, maxBytes, maxTokens int, structure bool) {
		o := Options{
			MaxWords:     1 + abs(maxWords)%50,
			OverlapWords: abs(overlapWords) % 20,
			MaxBytes:     utf8.UTFMax + abs(maxBytes)%200,
			Structure:    structure,
		}
		if maxTokens != 0 {
			o.MaxTokens = 4 + abs(maxTokens)%60
		}
		text = strings.ToValidUTF8(text, "?")
		checkSplit(t, text, Split(text, o), o)
	})
}

func abs(n int) int { return max(n, -(n + 1)) }
