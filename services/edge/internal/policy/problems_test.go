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
