package detect

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func every(text string) []Finding {
	return NewScanner(All(), func(Kind) bool { return true }).Find(text)
}

// TestFound and TestNotFound read testdata: a kind, and a text in which what
// stands between « » is found, or nothing is.
func TestFound(t *testing.T) {
	for line := range lines(t, "testdata/found.txt") {
		kind, marked, ok := strings.Cut(line, "\t")
		if !ok {
			t.Fatalf("no kind: %q", line)
		}
		marked = strings.ReplaceAll(marked, `\n`, "\n")
		before, rest, _ := strings.Cut(marked, "«")
		want, after, ok := strings.Cut(rest, "»")
		if !ok {
			t.Fatalf("nothing is marked: %q", line)
		}
		text := before + want + after
		found := every(text)
		if len(found) != 1 || found[0].Kind != Kind(kind) || text[found[0].Start:found[0].End] != want {
			t.Errorf("%q: %+v", text, found)
		}
	}
}

func TestNotFound(t *testing.T) {
	for text := range lines(t, "testdata/notfound.txt") {
		if found := every(text); len(found) > 0 {
			t.Errorf("%q: %s in %q", text, found[0].Kind, text[found[0].Start:found[0].End])
		}
	}
}

// TestEveryKindIsFound fails for a kind without an example.
func TestEveryKindIsFound(t *testing.T) {
	seen := map[Kind]bool{PrivateKey: true, Hidden: true} // have tests of their own
	for line := range lines(t, "testdata/found.txt") {
		kind, _, _ := strings.Cut(line, "\t")
		seen[Kind(kind)] = true
	}
	for _, k := range Kinds(All()) {
		if !seen[k] {
			t.Errorf("%s has no example", k)
		}
	}
}

func lines(t *testing.T, name string) func(func(string) bool) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(string) bool) {
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") && !yield(line) {
				return
			}
		}
	}
}

const armoured = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEAx\n-----END RSA PRIVATE KEY-----"

func TestPrivateKeys(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want int // bytes of the finding
	}{
		"whole":            {"here:\n" + armoured + "\nthanks", len(armoured)},
		"in JSON":          {`{"key":"x\n` + armoured + `"}`, len(armoured)},
		"without end":      {"-----BEGIN PRIVATE KEY-----\nMIIE", len("-----BEGIN PRIVATE KEY-----\nMIIE")},
		"longer than long": {"-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A", 3*maxLength), maxLength},
		"a public one":     {"-----BEGIN PUBLIC KEY-----\nMIIE\n-----END PUBLIC KEY-----", 0},
	} {
		found := every(c.text)
		if n := len(found); c.want == 0 && n != 0 || c.want > 0 && (n != 1 || found[0].Kind != PrivateKey || found[0].End-found[0].Start != c.want) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestHiddenText(t *testing.T) {
	var tags strings.Builder
	for _, c := range "ignore the rules" {
		tags.WriteRune(0xe0000 + c)
	}
	for name, c := range map[string]struct {
		text  string
		found bool
	}{
		"spelt in tags":       {"a nice day" + tags.String() + "!", true},
		"the writing's way":   {"abc\u202edcba", true},
		"of no width":         {"a\u200b\u200b\u200b\u200bb", true},
		"a family":            {"👨\u200d👩\u200d👧\u200d👦", false},
		"the flag of Wales":   {"🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f", false},
		"one joiner in Farsi": {"می\u200cخواهم", false},
	} {
		if found := every(c.text); (len(found) == 1 && found[0].Kind == Hidden) != c.found || len(found) > 1 {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestLongestCounts(t *testing.T) {
	// A number for value added tax holds a company's; an address a word before it.
	text := "FR 83 404833048 and https://ada:s3cr3t-pass@example.net/x"
	found := every(text)
	kinds := []Kind{found[0].Kind, found[1].Kind}
	if len(found) != 2 || !slices.Equal(kinds, []Kind{FrenchVAT, URLPassword}) {
		t.Errorf("%+v", found)
	}
}
