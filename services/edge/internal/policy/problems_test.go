package policy

import (
	"strings"
	"testing"
)

// Whoever writes a policy learns everything that is wrong with it at once, also
// of one rule.
func TestEveryProblemIsTold(t *testing.T) {
	doc, err := Parse("rules: [{subject: intern, scope: ACME, type: car, action: fly, effect: maybe}]\nroles: [{member: leads, role: developer}]")
	if err != nil {
		t.Fatal(err)
	}
	err = space(t).Check("default", doc)
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{`"intern"`, `"ACME"`, `"maybe"`, `"car"`, "role 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not told: %v", want, err)
		}
	}
}

// TestWhereTheProblemIs: what cannot be read is told with its place in the file.
func TestWhereTheProblemIs(t *testing.T) {
	for source, want := range map[string]string{
		"description: x\nrules:\n  - subject: public\n    efect: allow\n":    `line 4, column 5: unknown field "efect"`,
		"rules:\n  - subject: public\n    obligations: {max_tokens: many}\n": "line 3, column 31: ",
		"# étés\nrules:\n  - {id: \"é\", subject: [public]}\n":               "line 3, column 24: ",
		"{\"rules\": [\n {\"subject\": \"public\",\n  \"rul\": 1}]}":         `line 3, column 3: unknown field "rul"`,
		"cases:\n- context:\n    time: yesterday\n":                          "line 3, column 11: ",
		"rules:\n- subject: public\n subject: x\n":                           "line ",
		"rules:\n- subject: public\n  subject: x\n":                          "line 3",
		"base: &b {subject: public}\nrules: [*b]\n":                          `unknown field "base"`,
		strings.Repeat("[", 20_000):                                          "",
	} {
		_, err := Parse(source)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v, want %q", source, err, want)
		}
	}
}
