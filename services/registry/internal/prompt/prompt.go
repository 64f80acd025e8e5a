// Package prompt reads and fills in prompt templates, and names them by their
// content. A template is mustache (github.com/cbroglie/mustache) of which only
// what takes time in proportion to its length is let through: variables are
// texts, so that a section shows once or not at all; there are no partials. It
// knows nothing of storage. Start reading at Check and Render.
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
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// MaxBytes bounds the messages of a rendered prompt together.
const MaxBytes = 1 << 20

// maxDepth bounds sections within sections: each looks for its names in all that
// it is in.
const maxDepth = 16

// format is a member of every canonical form, so that another definition can
// never make the same bytes.
const format = "poterne.prompt/1"

// Check returns what is wrong with a template: it must be mustache that names
// declared variables only.
func Check(spec *registryv1.PromptSpec) error {
	declared := make(map[string]bool, len(spec.GetVariables()))
	for i, v := range spec.GetVariables() {
		if declared[v.GetName()] {
			return apierr.Invalid(fmt.Sprintf("spec.variables[%d].name", i), "%q is declared twice", v.GetName())
		}
		declared[v.GetName()] = true
	}
	for i, m := range spec.GetMessages() {
		field := fmt.Sprintf("spec.messages[%d].content", i)
		t, err := parse(m.GetContent())
		if err != nil {
			return apierr.Invalid(field, "is not a template: %.200s", err)
		}
		if err := checkTags(field, t.Tags(), declared, maxDepth); err != nil {
			return err
		}
	}
	return nil
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
		return apierr.Invalid(field, "has sections within sections, more than %d deep", maxDepth)
	}
	for _, tag := range tags {
		switch tag.Type() {
		case mustache.Variable:
		case mustache.Section, mustache.InvertedSection:
			if err := checkTags(field, tag.Tags(), declared, depth-1); err != nil {
				return err
			}
		case mustache.Invalid, mustache.Partial:
			return apierr.Invalid(field, "may hold variables and sections only, not a partial")
		}
		if !declared[tag.Name()] {
			return apierr.Invalid(field, "names %.64q, which is not among the variables", tag.Name())
		}
	}
	return nil
}

// Render fills in the variables. One that is required and not given, and one that
// the template does not declare, is refused. One that is neither given nor has a
// default is an empty text, which a section takes for "no".
func Render(spec *registryv1.PromptSpec, variables map[string]string) ([]*registryv1.PromptMessage, error) {
	values := make(map[string]any, len(spec.GetVariables()))
	for _, v := range spec.GetVariables() {
		value, given := variables[v.GetName()]
		if !given && v.GetRequired() {
			return nil, apierr.Invalid("variables", "the variable %q must be given", v.GetName())
		}
		if !given {
			value = v.GetDefaultValue()
		}
		values[v.GetName()] = value
	}
	for name := range variables {
		if _, declared := values[name]; !declared {
			return nil, apierr.Invalid("variables", "the prompt has no variable %q", name)
		}
	}
	out, room := make([]*registryv1.PromptMessage, 0, len(spec.GetMessages())), MaxBytes
	for i, m := range spec.GetMessages() {
		t, err := parse(m.GetContent())
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		w := bounded{room: room}
		if err := t.FRender(&w, values); errors.Is(err, errTooLong) || w.full {
			return nil, apierr.Invalid("variables", "the prompt would be longer than %d bytes", MaxBytes)
		} else if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		room -= w.text.Len()
		out = append(out, &registryv1.PromptMessage{Role: m.GetRole(), Content: w.text.String()})
	}
	return out, nil
}

var errTooLong = errors.New("too long")

// bounded is a text that takes no more than it has room for.
type bounded struct {
	text bytes.Buffer
	room int
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.text.Len()+len(p) > b.room {
		b.full = true
		return 0, errTooLong
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
func Digest(spec *registryv1.PromptSpec) (string, error) {
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
