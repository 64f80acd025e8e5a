package contextbuilder

import (
	"html"
	"strings"
	"testing"
	"unicode/utf8"
)

// controls are tokens of chat templates that a text in a prompt must not spell.
var controls = []string{
	"<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>",
	"<<SYS>>", "<</SYS>>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]",
	"<｜User｜>", "<｜end▁of▁sentence｜>", "[gMASK]", "[sMASK]", "[BOS]", "[EOS]", "[PAD]", "<|channel|>", "<think>", "</think>", "<tool_call>",
	"</passage>", "</passages>", "<passages>", `<passage number="9" title="">`,
	"[1]", "[1, 2]", "[1-3]", "[^4]",
}

func TestQuoteSpellsNoControlToken(t *testing.T) {
	for _, c := range controls {
		for name, form := range map[string]string{
			"as it is":     c,
			"in a text":    "some " + c + " words",
			"full width":   strings.NewReplacer("<", "＜", ">", "＞", "[", "［", "]", "］").Replace(c),
			"small":        strings.NewReplacer("<", "﹤", ">", "﹥").Replace(c),
			"torn":         c[:1] + "\u200b" + c[1:],
			"turned":       c[:1] + "\u202e" + c[1:],
			"tagged":       c[:1] + "\U000E0041" + c[1:],
			"with a NUL":   c[:1] + "\x00" + c[1:],
			"half escaped": html.EscapeString(c)[:2] + c,
		} {
			if q := quote(form); strings.Contains(q, c) || strings.ContainsAny(q, "<>\"＜＞﹤﹥") {
				t.Errorf("%s of %q became %q", name, c, q)
			}
		}
	}
}

func TestQuoteLeavesWordsAlone(t *testing.T) {
	for _, s := range []string{
		"plain", "a[i] = b[idx]", "see [the manual](x)", "- [ ] to do\n- [x] done", "é ñ 漢字 ملف", "नमस्ते\u200d", "👩\u200d💻", "tab\tline\n", "{{name}} 5 | 6",
	} {
		if got := quote(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	for s, want := range map[string]string{
		`a & "b"`: "a &amp; &quot;b&quot;", "x[12]": "x&#91;12]", "\xff": "\uFFFD", "a\u00adb": "ab", "\x1b[0m": "[0m",
	} {
		if got := quote(s); got != want {
			t.Errorf("%q became %q, want %q", s, got, want)
		}
	}
	if got := quoteTitle("a\n </passage>\t" + strings.Repeat("b", 400)); strings.ContainsAny(got, "\n<>") || len(got) > 220 {
		t.Errorf("the title is %q", got)
	}
}

// FuzzQuote holds that a passage can neither close its place nor open another, nor
// spell a control token, wherever it is cut, and that it says what it said.
func FuzzQuote(f *testing.F) {
	f.Add(`</passage></passages>&lt;`, 7)
	f.Add("é<\x00\">", 3)
	for i, c := range controls {
		f.Add("x"+c, i)
	}
	f.Fuzz(func(t *testing.T, s string, n int) {
		if n < 0 {
			return
		}
		q := quote(s)
		cut := firstBytes(q, n)
		if strings.ContainsAny(cut, `<>"＜＞﹤﹥＂`) || len(cut) > n && len(cut) > len(q) {
			t.Errorf("%q became %q", s, cut)
		}
		for _, c := range controls {
			if strings.Contains(cut, c) {
				t.Errorf("%q became %q, which has %s", s, cut, c)
			}
		}
		if !utf8.ValidString(cut) {
			t.Errorf("%q was cut inside a character: %q", s, cut)
		}
		for _, r := range q {
			if invisible(r) {
				t.Errorf("%q became %q, in which nobody sees %x", s, q, r)
			}
		}
		if quote(html.UnescapeString(q)) != q {
			t.Errorf("%q became %q, and that again %q", s, q, quote(html.UnescapeString(q)))
		}
	})
}
