package apikey

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The expressions that docs/api-keys.md gives to scanners are exactly the form of
// keys, and all the same.
func TestScannersExpression(t *testing.T) {
	doc, err := os.ReadFile("../../../../docs/api-keys.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`ptn_\[\S+\}_\[\S+?\}`).FindAllString(string(doc), -1)
	if len(found) != 3 {
		t.Fatalf("the document has %q", found)
	}
	for _, expr := range found {
		form := regexp.MustCompile(`\b(` + expr + `)\b`)
		for range 300 {
			text := newKey(t).Reveal()
			for _, around := range []string{text, `KEY="` + text + `"`, "bearer " + text + "\n", "https://x/?k=" + text + "&y"} {
				if m := form.FindStringSubmatch(around); len(m) != 2 || m[1] != text {
					t.Fatalf("%s does not find %s", expr, around)
				}
			}
			if form.MatchString(text[:len(text)-1]) || form.MatchString(strings.ToUpper(text)) || form.MatchString("x"+text) {
				t.Fatalf("%s finds too much", expr)
			}
		}
		for _, c := range base32Digits + "iloux" {
			if got, want := form.MatchString("ptn_"+strings.Repeat(string(c), idLen)+"_"+strings.Repeat("0", secretLen+sumLen)), strings.ContainsRune(base32Digits, c); got != want {
				t.Errorf("%q in an id: %v", c, got)
			}
		}
	}
}
