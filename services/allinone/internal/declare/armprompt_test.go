package declare

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// What names a prompt is sent as what it says, and written as it was read.
func TestArmPrompts(t *testing.T) {
	for text, want := range map[armPrompt]struct {
		whole armPrompt
		sent  string
	}{
		"":               {"", "map[]"},
		"greeting":       {"greeting@production", "map[prompt:map[alias:production prompt:greeting]]"},
		"greeting@v12":   {"greeting@v12", "map[prompt:map[prompt:greeting version:12]]"},
		"greeting@2":     {"greeting@2", "map[prompt:map[alias:2 prompt:greeting]]"}, // an alias may be named so
		"a.b-c@staging":  {"a.b-c@staging", "map[prompt:map[alias:staging prompt:a.b-c]]"},
		"greeting@v1234": {"greeting@v1234", "map[prompt:map[prompt:greeting version:1234]]"},
	} {
		sent := text.sent(map[string]any{})
		if got := fmt.Sprint(sent); got != want.sent || text.whole() != want.whole || text.wrong() != "" {
			t.Errorf("%q is sent as %s, written %q, %s", text, got, text.whole(), text.wrong())
		}
		var back arm
		if err := convert(sent, &back); err != nil || back.Prompt != want.whole {
			t.Errorf("%q came back as %q, %v", text, back.Prompt, err)
		}
	}
	for _, bad := range []armPrompt{"@v1", "P", "p@", "p@v1@v2", "p q", "p@sha256:00"} {
		if bad.wrong() == "" {
			t.Errorf("%q is taken", bad)
		}
	}
}

// A split with prompts is applied, told in a difference, and got as it was written.
func TestPromptsOfSplits(t *testing.T) {
	r := &registry{things: map[string]map[string]any{}}
	const base = "kind: Model\nname: m\n---\nkind: Version\nmodel: m\nname: one\nspec: {task: chat, engine: sim}\n---\n"
	split := func(a, b string) string {
		return "kind: Split\nmodel: m\narms: [{name: a, version: 2" + a + ", percent: 50}, {name: b, version: 2" + b + ", percent: 50}]\n"
	}
	with := split(", prompt: greeting", ", prompt: greeting@v2")
	actions(t, r, base, true)
	for i, tt := range []struct{ text, want string }{
		{with, "create split m"},
		{split(", prompt: greeting@production", ", prompt: greeting@v2"), "none split m"},
		{split(", prompt: greeting", ", prompt: greeting@v3"), "update split m"},
		{split("", ", prompt: greeting@v3"), "update split m"},
		{with, "update split m"},
	} {
		if got := actions(t, r, tt.text, true); got != tt.want {
			t.Errorf("%d: %s, want %s", i, got, tt.want)
		}
	}
	answer := map[string]any{"model": "m"} // which the small registry does not answer
	maps.Copy(answer, r.things[modelsPath+"/m/split"])
	document, err := AsDocument("Split", answer)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	got := string(raw)
	if !strings.Contains(got, "prompt: greeting@production") || !strings.Contains(got, "prompt: greeting@v2") {
		t.Errorf("got\n%s", got)
	}
	if a := actions(t, r, got, false); a != "none split m" {
		t.Errorf("what was got is %s", a)
	}
}
