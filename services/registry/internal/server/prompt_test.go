package server_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/prompt"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

func spec(content string, names ...string) *registryv1.PromptSpec {
	s := &registryv1.PromptSpec{Messages: []*registryv1.PromptMessage{{Role: "user", Content: content}}}
	for _, n := range names {
		s.Variables = append(s.Variables, &registryv1.PromptVariable{Name: n})
	}
	return s
}

func TestRender(t *testing.T) {
	for name, tt := range map[string]struct {
		content   string
		variables map[string]string
		want      string
	}{
		"a variable":           {"Hello {{a}}!", map[string]string{"a": "<you> & \"me\""}, `Hello <you> & "me"!`},
		"spaces and braces":    {"{{ a }} {{{a}}} {{& a }}", map[string]string{"a": "x"}, "x x x"},
		"not given":            {"[{{a}}]", nil, "[]"},
		"a section":            {"{{#a}}yes {{b}}{{/a}}{{^a}}no{{/a}}", map[string]string{"a": "1", "b": "B"}, "yes B"},
		"an inverted section":  {"{{#a}}yes{{/a}}{{^a}}no{{/a}}", nil, "no"},
		"no template in them":  {"{{a}}", map[string]string{"a": "{{b}}"}, "{{b}}"},
		"a comment":            {"a{{! not said }}b", nil, "ab"},
		"JSON stays as it is":  {`{"q": "{{a}}"}`, map[string]string{"a": "x"}, `{"q": "x"}`},
		"no methods of values": {"{{a}}", map[string]string{"a": "len"}, "len"},
	} {
		t.Run(name, func(t *testing.T) {
			s := spec(tt.content, "a", "b")
			if err := prompt.Check(s); err != nil {
				t.Fatal(err)
			}
			got, err := prompt.Render(s, tt.variables)
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Content != tt.want || got[0].Role != "user" {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRequiredAndDefault(t *testing.T) {
	s := spec("{{a}}{{b}}", "a", "b")
	s.Variables[0].Required, s.Variables[1].DefaultValue = true, "B"
	got, err := prompt.Render(s, map[string]string{"a": "A"})
	if err != nil || got[0].Content != "AB" {
		t.Errorf("got %v, %v", got, err)
	}
	for _, variables := range []map[string]string{nil, {"a": "A", "c": "C"}} {
		if _, err := prompt.Render(s, variables); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%v: %v", variables, err)
		}
	}
}

func TestRefusedTemplates(t *testing.T) {
	for name, content := range map[string]string{
		"an undeclared variable": "{{b}}", "one in a section": "{{#a}}{{b}}{{/a}}", "a partial": "{{> /etc/passwd}}",
		"an open section": "{{#a}}", "an open tag": "{{a", "the present value": "{{#a}}{{.}}{{/a}}", "a path": "{{a.b}}",
		"deep sections": strings.Repeat("{{#a}}", 9000) + strings.Repeat("{{/a}}", 9000),
	} {
		if err := prompt.Check(spec(content, "a")); apierr.ReasonOf(err) != apierr.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := prompt.Check(spec("{{a}}", "a", "a")); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("declared twice: %v", err)
	}
}

func TestOutputIsBounded(t *testing.T) {
	s := spec(strings.Repeat("{{a}}", 1000), "a")
	if _, err := prompt.Render(s, map[string]string{"a": strings.Repeat("x", 60_000)}); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Errorf("60 MB: %v", err)
	}
}

func TestDigest(t *testing.T) {
	digest := func(s *registryv1.PromptSpec) string {
		t.Helper()
		d, err := prompt.Digest(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one, other := spec("{{a}}{{b}}", "a", "b"), spec("{{a}}{{b}}", "b", "a")
	other.Variables[0].Description = "for people"
	if digest(one) != digest(other) {
		t.Error("the order of the variables, or what they are for, changes the digest")
	}
	other.Variables[0].Required = true
	if digest(one) == digest(other) || digest(one) == digest(spec("{{a}} {{b}}", "a", "b")) {
		t.Error("another template has the same digest")
	}
}

func FuzzCheckedTemplatesRender(f *testing.F) {
	for _, s := range []string{"{{a}}", "{{#a}}x{{/a}}", "{{=<% %>=}}<%a%>", "{{^a}}{{{a}}}{{/a}}", "{{>a}}", "{{!"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, content string) {
		s := spec(content, "a")
		if len(content) > 1<<16 || prompt.Check(s) != nil {
			return
		}
		if _, err := prompt.Render(s, map[string]string{"a": "value"}); err != nil {
			t.Errorf("%q passed the check and does not render: %v", content, err)
		}
	})
}
