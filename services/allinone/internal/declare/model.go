package declare

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

const modelsPath = "/v1/registry/models"

func path(segments ...string) string {
	escaped := []string{modelsPath}
	for _, s := range segments {
		escaped = append(escaped, url.PathEscape(s))
	}
	return strings.Join(escaped, "/")
}

// text is a value as YAML, for people to compare.
func text(v any) (string, error) {
	raw, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("write as YAML: %w", err)
	}
	return string(raw), nil
}

// both fills in what a change is about; before nil is nothing there.
func (c *Change) both(before, after any) (*Change, error) {
	var err error
	if before != nil {
		if c.Before, err = text(before); err != nil {
			return nil, err
		}
	}
	c.After, err = text(after)
	return c, err
}

// model declares a model. A label that is null is removed; labels that are not
// named stay as they are.
type model struct {
	Kind        string             `yaml:"kind"`
	Name        string             `yaml:"name"`
	DisplayName *string            `yaml:"display_name"`
	Labels      map[string]*string `yaml:"labels"`
}

func (m *model) id() string { return "model " + m.Name }

func (m *model) check() string {
	if m.Name == "" {
		return "a Model needs a name"
	}
	return ""
}

// modelView is the part of a model that a document speaks of.
type modelView struct {
	Name        string            `yaml:"name"`
	DisplayName string            `yaml:"display_name,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
}

func (m *model) plan(ctx context.Context, p *planner) (*Change, error) {
	var there struct {
		DisplayName string            `json:"display_name"`
		Labels      map[string]string `json:"labels"`
	}
	found, err := p.registry.Get(ctx, path(m.Name), &there)
	if err != nil {
		return nil, err
	}
	before := modelView{Name: m.Name, Labels: map[string]string{}}
	after := modelView{Name: m.Name, Labels: map[string]string{}}
	if m.DisplayName != nil {
		before.DisplayName, after.DisplayName = there.DisplayName, *m.DisplayName
	}
	remove := []string{}
	for _, name := range slices.Sorted(maps.Keys(m.Labels)) {
		value, is := there.Labels[name]
		if is {
			before.Labels[name] = value
		}
		if wanted := m.Labels[name]; wanted != nil {
			after.Labels[name] = *wanted
		} else if is {
			remove = append(remove, name)
		}
	}
	c := &Change{apply: func(ctx context.Context) error {
		body := map[string]any{"labels": after.Labels}
		if m.DisplayName != nil {
			body["display_name"] = *m.DisplayName
		}
		if !found {
			body["name"] = m.Name
			return p.registry.Send(ctx, http.MethodPost, modelsPath, body, nil)
		}
		body["remove_labels"] = remove
		return p.registry.Send(ctx, http.MethodPatch, path(m.Name), body, nil)
	}}
	if !found {
		return c.both(nil, after)
	}
	return c.both(before, after)
}
