package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/prompt"
)

// Whatever a body is, a message that goes before its messages changes nothing else
// of it, and is there once.
func FuzzPrepend(f *testing.F) {
	for _, body := range []string{
		`{"messages":[]}`, `{"messages":[{"role":"user"}]}`, ` { "a" : "\"messages\":[" , "messages" : [ 1 ] , "b" : {"messages":[]} } `,
		`{"messages":"x"}`, `{"messages":[`, `{"messages":[1],"messages":[2]}`, `[]`, `{`, ``,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var before, after map[string]json.RawMessage
		var old, now []json.RawMessage
		isObject := json.Unmarshal([]byte(body), &before) == nil && before != nil
		for name := range before {
			if name != "messages" && strings.Contains(strings.ToLower(name), "messages") {
				return // escaped or in other letters: this decoder takes it for another's
			}
		}
		out, err := prepend([]byte(body), []prompt.Said{{Role: "system", Content: "be <\"brief\">\n"}})
		if !isObject || strings.Contains(body, `\u`) || strings.Count(body, `"messages"`) != 1 || json.Unmarshal(before["messages"], &old) != nil || old == nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q makes %q: %v", body, out, err)
		}
		if err := json.Unmarshal(after["messages"], &now); err != nil || len(now) != len(old)+1 || len(after) != len(before) {
			t.Fatalf("%q makes %q", body, out)
		}
		var said struct{ Role, Content string }
		if err := json.Unmarshal(now[0], &said); err != nil || said.Role != "system" || said.Content != "be <\"brief\">\n" {
			t.Fatalf("%q begins with %s", body, now[0])
		}
		for i := range old {
			if string(now[i+1]) != string(old[i]) {
				t.Fatalf("%q changes message %d to %s", body, i, now[i+1])
			}
		}
	})
}

// BenchmarkPrepend fills in a prompt of 2 KiB and puts it before a conversation of
// 16 KiB.
func BenchmarkPrepend(b *testing.B) {
	t, err := prompt.Compile[said, variableOf](template{strings.Repeat("Answer {{name}} in a friendly tone. ", 60)})
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("word ", 3200) + `"}],"seed":1}`)
	for b.Loop() {
		filled, err := t.Fill(map[string]string{"name": "Ada"})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := prepend(body, filled); err != nil {
			b.Fatal(err)
		}
	}
}

// template is a template of one message.
type template struct{ content string }

type (
	said       struct{ content string }
	variableOf struct{ name string }
)

func (t template) GetMessages() []said      { return []said{{t.content}} }
func (template) GetVariables() []variableOf { return []variableOf{{"name"}} }
func (said) GetRole() string                { return "system" }
func (s said) GetContent() string           { return s.content }
func (v variableOf) GetName() string        { return v.name }
func (variableOf) GetRequired() bool        { return true }
func (variableOf) GetDefaultValue() string  { return "" }
