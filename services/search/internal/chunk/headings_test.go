package chunk

import (
	"strings"
	"testing"
)

const guide = "Before all.\n\n# Guide\n\nAn introduction.\n\n## *Install* ##\n\n### Linux\n\nRun make.\n\n```sh\n# no heading\n```\n\nAfter the code.\n\n" +
	"### macOS\n\nRun brew.\n\nUse\n---\n\nJust so.\n\n#\n\nUnder nothing.\n\nOther\n=====\n\n#### Deep\n\nEnd."

func TestPassagesStandUnderHeadings(t *testing.T) {
	o := OutlineOf(guide)
	for what, want := range map[string]string{
		"Before all.": "", "# Guide": "Guide", "An introduction.": "Guide",
		"## *Install*": "Guide > Install", "### Linux": "Guide > Install > Linux", "Run make.": "Guide > Install > Linux",
		"After the code.": "Guide > Install > Linux", "Run brew.": "Guide > Install > macOS", "Just so.": "Guide > Use",
		"Under nothing.": "", "End.": "Other > Deep",
	} {
		at := strings.Index(guide, what)
		if got := strings.Join(o.Under(Span{at, at + len(what)}), " > "); got != want {
			t.Errorf("%q stands under %q, want %q", what, got, want)
		}
	}
	// What begins with headings stands under the last of those in a row.
	at, end := strings.Index(guide, "## *Install*"), strings.Index(guide, "### macOS")
	if got := strings.Join(o.Under(Span{at, end}), " > "); got != "Guide > Install > Linux" {
		t.Errorf("a passage with its headings stands under %q", got)
	}
	if got := OutlineOf("no heading").Under(Span{0, 2}); got != nil {
		t.Errorf("got %q", got)
	}
}

func FuzzOutline(f *testing.F) {
	f.Add(guide, 3, 20)
	f.Add("# "+strings.Repeat("é", 300)+"\nx\n\n###### six\n\ny", 0, 4)
	f.Add("# a\x01\u0085b `c`\nx", 6, 9)
	f.Add("#\n##\n#\n===\n---\n", 1, 9)
	f.Fuzz(func(t *testing.T, text string, start, end int) {
		text = strings.ToValidUTF8(text, "?")
		start = abs(start) % (len(text) + 1)
		end = start + abs(end)%(len(text)-start+1)
		got := OutlineOf(text).Under(Span{start, end})
		if !ValidHeadings(got) {
			t.Fatalf("headings %q", got)
		}
	})
}
