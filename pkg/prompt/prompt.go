// Package prompt reads and fills in prompt templates, and names them by their
// content. A template is mustache (github.com/cbroglie/mustache) of which only
// what takes time in proportion to its length is let through: variables are
// texts, so that a section shows once or not at all; there are no partials. It
// knows nothing of storage. Start reading at Check and Compile.
package prompt

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cbroglie/mustache"
	"github.com/gowebpki/jcs"

	"github.com/poterne/poterne/pkg/apierr"
)

// MaxBytes bounds the messages of a rendered prompt together.
const MaxBytes = 1 << 20

// maxDepth bounds sections within sections: each looks for its names in all that
// it is in.
const maxDepth = 16

// format is a member of every canonical form, so that another definition can
// never make the same bytes.
const format = "poterne.prompt/1"

// Message is one message of a template.
type Message interface {
	GetRole() string
	GetContent() string
}

// Variable is a variable of a template.
type Variable interface {
	GetName() string
	GetRequired() bool
	GetDefaultValue() string
}

// Spec is a template, as the contracts have it.
type Spec[M Message, V Variable] interface {
	GetMessages() []M
	GetVariables() []V
}

// Said is a message without places for variables.
type Said struct{ Role, Content string }

// Check returns what is wrong with a template: it must be mustache that names
// declared variables only.
func Check[M Message, V Variable](spec Spec[M, V]) error {
	declared := make(map[string]bool, len(spec.GetVariables()))
	for i, v := range spec.GetVariables() {
		if declared[v.GetName()] {
			return invalid(fmt.Sprintf("spec.variables[%d].name", i), "%q is declared twice", v.GetName())
		}
		declared[v.GetName()] = true
	}
	for i, m := range spec.GetMessages() {
		field := fmt.Sprintf("spec.messages[%d].content", i)
		t, err := parse(m.GetContent())
		if err != nil {
			return invalid(field, "is not a template: %.200s", err)
		}
		if err := checkTags(field, t.Tags(), declared, maxDepth); err != nil {
			return err
		}
	}
	return nil
}

// invalid is an error that names the field in its text, too: some clients show that only.
func invalid(field, format string, args ...any) error {
	return apierr.Invalid(field, "%s: %s", field, fmt.Sprintf(format, args...))
}

// noPartials refuses to look anything up: a partial would be a file.
type noPartials struct{}

var errPartial = errors.New("partials are not allowed")

func (noPartials) Get(string) (string, error) { return "", errPartial }

func parse(content string) (*mustache.Template, error) {
	return mustache.ParseStringPartialsRaw(content, noPartials{}, true)
}

func checkTags(field string, tags []mustache.Tag, declared map[string]bool, depth int) error {
	if depth < 0 {
		return invalid(field, "has sections within sections, more than %d deep", maxDepth)
	}
	for _, tag := range tags {
		switch tag.Type() {
		case mustache.Variable:
		case mustache.Section, mustache.InvertedSection:
			if err := checkTags(field, tag.Tags(), declared, depth-1); err != nil {
				return err
			}
		case mustache.Invalid, mustache.Partial:
			return invalid(field, "may hold variables and sections only, not a partial")
		}
		if !declared[tag.Name()] {
			return invalid(field, "names %.64q, which is not among the variables", tag.Name())
		}
	}
	return nil
}

// Template is a template that was read once, to be filled in often. It is safe for
// concurrent use.
type Template struct {
	declared []Variable
	roles    []string
	contents []*mustache.Template
}

// Compile reads a template that Check found right.
func Compile[M Message, V Variable](spec Spec[M, V]) (*Template, error) {
	out := new(Template)
	for _, v := range spec.GetVariables() {
		out.declared = append(out.declared, v)
	}
	for i, m := range spec.GetMessages() {
		t, err := parse(m.GetContent())
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		out.roles, out.contents = append(out.roles, m.GetRole()), append(out.contents, t)
	}
	return out, nil
}

// Unknown returns the first variable, by name, that the template does not declare;
// "" when it declares them all.
func (t *Template) Unknown(variables map[string]string) string {
	first := ""
	for name := range variables {
		declared := slices.ContainsFunc(t.declared, func(v Variable) bool { return v.GetName() == name })
		if !declared && (first == "" || name < first) {
			first = name
		}
	}
	return first
}

// Missing returns the first variable that must be given and is not; "" when none
// is missing.
func (t *Template) Missing(variables map[string]string) string {
	for _, v := range t.declared {
		if _, given := variables[v.GetName()]; v.GetRequired() && !given {
			return v.GetName()
		}
	}
	return ""
}

// ErrTooLong is returned for what would be longer than MaxBytes.
var ErrTooLong = fmt.Errorf("the prompt would be longer than %d bytes", MaxBytes)

// Fill fills in the variables. Those that the template does not declare are not
// looked at; one that is neither given nor has a default is an empty text, which a
// section takes for "no".
func (t *Template) Fill(variables map[string]string) ([]Said, error) {
	values := make(map[string]any, len(t.declared))
	for _, v := range t.declared {
		value, given := variables[v.GetName()]
		if !given {
			value = v.GetDefaultValue()
		}
		values[v.GetName()] = value
	}
	out, room := make([]Said, 0, len(t.contents)), MaxBytes
	for i, content := range t.contents {
		w := bounded{room: room}
		if err := content.FRender(&w, values); errors.Is(err, ErrTooLong) || w.full {
			return nil, ErrTooLong
		} else if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		room -= w.text.Len()
		out = append(out, Said{Role: t.roles[i], Content: w.text.String()})
	}
	return out, nil
}

// Render fills in the variables of a template that is used once. One that is
// required and not given, and one that the template does not declare, is refused.
func Render[M Message, V Variable](spec Spec[M, V], variables map[string]string) ([]Said, error) {
	t, err := Compile(spec)
	if err != nil {
		return nil, err
	}
	if name := t.Missing(variables); name != "" {
		return nil, apierr.Invalid("variables", "the variable %q must be given", name)
	}
	if name := t.Unknown(variables); name != "" {
		return nil, apierr.Invalid("variables", "the prompt has no variable %q", name)
	}
	out, err := t.Fill(variables)
	if errors.Is(err, ErrTooLong) {
		return nil, apierr.Invalid("variables", "%v", err)
	}
	return out, err
}

// bounded is a text that takes no more than it has room for.
type bounded struct {
	text bytes.Buffer
	room int
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.room {
		b.full = true
		return 0, ErrTooLong
	}
	return b.text.Write(p)
}

type document struct {
	Format    string     `json:"format"`
	Messages  []message  `json:"messages"`
	Variables []variable `json:"variables,omitempty"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// variable leaves out the description: it says nothing.
type variable struct {
	Name     string `json:"name"`
	Required bool   `json:"required,omitempty"`
	Default  string `json:"default_value,omitempty"`
}

// Digest returns SHA-256 over the canonical form (RFC 8785) of what a template
// says: its messages in order and its variables by name.
func Digest[M Message, V Variable](spec Spec[M, V]) (string, error) {
	doc := document{Format: format}
	for _, m := range spec.GetMessages() {
		doc.Messages = append(doc.Messages, message{Role: m.GetRole(), Content: m.GetContent()})
	}
	for _, v := range spec.GetVariables() {
		doc.Variables = append(doc.Variables, variable{Name: v.GetName(), Required: v.GetRequired(), Default: v.GetDefaultValue()})
	}
	slices.SortFunc(doc.Variables, func(a, b variable) int { return strings.Compare(a.Name, b.Name) })
	raw, err := json.Marshal(doc)
	if err != nil {
		return "", fmt.Errorf("prompt: %w", err)
	}
	form, err := jcs.Transform(raw)
	if err != nil {
		return "", fmt.Errorf("prompt: %w", err)
	}
	sum := sha256.Sum256(form)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
