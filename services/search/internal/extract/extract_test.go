package extract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"

	"github.com/poterne/poterne/pkg/apierr"
)

func TestTexts(t *testing.T) {
	x := New(DefaultLimits())
	utf16, err := unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewEncoder().String("été")
	if err != nil {
		t.Fatal(err)
	}
	latin, err := charmap.ISO8859_1.NewEncoder().String("déjà vu")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ kind, content, title, text string }{
		"plain":         {"text/plain", "one\r\ntwo", "", "one\ntwo"},
		"utf-8 mark":    {"text/plain", "\ufeffone", "", "one"},
		"utf-16":        {"text/plain; charset=utf-8", utf16, "", "été"},
		"latin-1":       {"text/plain; charset=ISO-8859-1", latin, "", "déjà vu"},
		"markdown":      {"text/markdown", "\n# A *Title*\n\ntext", "A *Title", "\n# A *Title*\n\ntext"},
		"no title":      {"text/markdown", "text\n# Later", "", "text\n# Later"},
		"written fffd":  {"text/plain", "\xff\xfe\xfd\xffa\x00", "", "\ufffda"},
		"html, its own": {"text/html; charset=windows-1252", `<meta charset="shift_jis"><p>` + latin, "", "déjà vu"},
		"html, wrong":   {"text/html", `<meta charset="iso-8859-1"><p>été`, "", "été"},
		"html in latin": {"text/html", `<meta charset="iso-8859-1"><p>` + latin, "", "déjà vu"},
		"html": {
			"text/html; charset=utf-8", "<html><head><title>The\n Title</title><style>p{}</style></head><body><h1>Top</h1><p>One  <b>bold</b>\nword&amp;more" +
				"<script>x()</script><ul><li>first<li>second</ul><pre>a  b\n c</pre><table><tr><td>1<td>2</tr></table>", "The Title",
			"# Top\n\nOne bold word&more\n\n- first\n- second\n\n```\na  b\n c\n```\n\n1 | 2",
		},
		"html, a drawing":        {"text/html", `<title>Page</title>a<svg><title>Logo</title><text>x</svg>b`, "Page", "ab"},
		"html, hidden":           {"text/html", `<div hidden>x<div>y</div>z</div>a <span hidden="until-found">b</span>`, "", "a b"},
		"html, not displayed":    {"text/html", `<p>a</p><div style="color: red; Display : NONE !important"><p>x</div><p style="display:block">b`, "", "a\n\nb"},
		"html, not visible":      {"text/html", `a<x-note style=visibility:hidden>x</x-note>b`, "", "ab"},
		"html, hidden, not shut": {"text/html", `<ul><li hidden>x<b>y</b><li>a</ul><p hidden>x<div>b</div><table><tr><td hidden>x</table>c`, "", "- a\n\nb\n\nc"},
		"html, hidden void":      {"text/html", `<input hidden>a<img style="display:none">b<body hidden>c`, "", "ab\n\nc"},
	} {
		got, err := x.Extract(t.Context(), []byte(tt.content), tt.kind)
		if err != nil || got.Text != tt.text || got.Title != tt.title {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestBadFilesSayWhy(t *testing.T) {
	limits := DefaultLimits()
	limits.InputBytes, limits.OutputBytes = 1<<20, 100_000
	x := New(limits)
	for name, tt := range map[string]struct {
		kind, content string
		reason        apierr.Reason
		field, says   string
	}{
		"too large":       {"text/plain", strings.Repeat("x", 1<<20+1), apierr.PayloadTooLarge, "content", "1048577 bytes"},
		"too much text":   {"text/plain", strings.Repeat("x", 100_001), apierr.PayloadTooLarge, "content", "100001 bytes"},
		"no type":         {"", "x", apierr.InvalidArgument, "content_type", "media type"},
		"another type":    {"image/png", "x", apierr.UnsupportedMediaType, "content_type", "application/pdf"},
		"not utf-8":       {"text/plain", "\xff\xff\xff", apierr.InvalidArgument, "content", "charset"},
		"a charset":       {"text/plain; charset=klingon", "x", apierr.InvalidArgument, "content_type", "klingon"},
		"half a unit":     {"text/plain", "\xff\xfea\x00b", apierr.InvalidArgument, "content", "charset"},
		"half a pair":     {"text/plain; charset=utf-16be", "\xd8\x00\x00a", apierr.InvalidArgument, "content", "charset"},
		"broken jis":      {"text/plain; charset=shift_jis", "a\x81", apierr.InvalidArgument, "content", "charset"},
		"html charset":    {"text/html; charset=klingon", "x", apierr.InvalidArgument, "content_type", "klingon"},
		"html not utf-8":  {"text/html", "<p>\xe9t\xe9", apierr.InvalidArgument, "content", "charset"},
		"html said utf-8": {"text/html; charset=utf-8", "<p>\xe9t\xe9", apierr.InvalidArgument, "content", "charset"},
		"html broken jis": {"text/html", `<meta charset="shift_jis"><p>` + "\x81", apierr.InvalidArgument, "content", "charset"},
		"blank":           {"text/html", "<p> </p>", apierr.InvalidArgument, "content", "no text"},
		"deep html":       {"text/html", strings.Repeat("<div>", 100_000), apierr.InvalidArgument, "content", "deeper than 500"},
		"endless entites": {"text/html", strings.Repeat("&amp;", 150_000), apierr.PayloadTooLarge, "content", "more than 100000"},
		"no headings end": {"text/html", strings.Repeat("<h1>", 100_000), apierr.InvalidArgument, "content", "deeper"},
	} {
		_, err := x.Extract(t.Context(), []byte(tt.content), tt.kind)
		e := apierr.From(err)
		if err == nil || e.Reason != tt.reason || e.Field != tt.field || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzHTML(f *testing.F) {
	for _, s := range []string{"<p>a<b>c", "<pre>x</pre></pre>", "<title><title>", "&#x0;&#xd800;", "<td><td>", "<svg></template>x", "<p hidden><li hidden></ul>x<div hidden>", "\xff<h6>\x00"} {
		f.Add([]byte(s), "text/html")
	}
	f.Add([]byte("\xff\xfex"), "text/plain; charset=utf-16")
	x := New(DefaultLimits())
	f.Fuzz(func(t *testing.T, content []byte, kind string) {
		if strings.Contains(kind, "pdf") {
			return
		}
		got, err := x.Extract(t.Context(), content, kind)
		if err != nil {
			return
		}
		if got.Text != clean(got.Text) || len(got.Text) > DefaultLimits().OutputBytes || got.Title != oneLine(got.Title) {
			t.Errorf("%q", got)
		}
	})
}

// Without the program PDFs are refused, and say what is missing.
func TestPDFsNeedTheirProgram(t *testing.T) {
	limits := DefaultLimits()
	limits.PDFProgram = filepath.Join(t.TempDir(), "poterne-pdf")
	_, err := New(limits).Extract(t.Context(), []byte("%PDF-1.4"), "application/pdf")
	if e := apierr.From(err); e == nil || e.Reason != apierr.FailedPrecondition || !strings.Contains(e.Message, "poterne-pdf") {
		t.Errorf("got %v", err)
	}
}

// A program that says too much, or nothing, is that document's own error.
func TestAPDFProgramThatFails(t *testing.T) {
	for name, script := range map[string]string{
		"dies":            "exit 3",
		"says nothing":    "cat >/dev/null",
		"does not stop":   "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
		"says no reasons": "cat >/dev/null; echo '[]'",
	} {
		limits := DefaultLimits()
		limits.OutputBytes = 1000
		limits.PDFProgram = filepath.Join(t.TempDir(), "poterne-pdf")
		if err := os.WriteFile(limits.PDFProgram, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := New(limits).Extract(t.Context(), []byte("%PDF-1.4"), "application/pdf")
		if e := apierr.From(err); e == nil || e.Reason != apierr.InvalidArgument || e.Field != "content" {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
