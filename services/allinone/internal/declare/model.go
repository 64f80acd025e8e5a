package declare

import (
	"context"
	"fmt"
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
// named stay as they are, and so does every field that is left out.
type model struct {
	Kind        string             `yaml:"kind" json:"-"`
	Name        string             `yaml:"name" json:"name"`
	DisplayName *string            `yaml:"display_name,omitempty" json:"display_name"`
	Task        string             `yaml:"task,omitempty" json:"task"`
	Tenant      *string            `yaml:"tenant,omitempty" json:"tenant"`
	Owner       *string            `yaml:"owner,omitempty" json:"owner"`
	Licence     *string            `yaml:"licence,omitempty" json:"licence"`
	Card        *string            `yaml:"card,omitempty" json:"card"`
	Labels      map[string]*string `yaml:"labels,omitempty" json:"labels"`
	// Status is what the registry says besides; it is not looked at.
	Status any `yaml:"status,omitempty" json:"-"`
}

func (m *model) id() string { return "model " + m.Name }

func (m *model) check() string {
	switch {
	case m.Name == "":
		return "a Model needs a name"
	case !oneOf(m.Task, tasks()...):
		return "task must be " + strings.Join(tasks(), ", ")
	}
	return ""
}

func tasks() []string { return []string{"chat", "embedding", "rerank", "tensor"} }

// texts are the fields that are changed by their names.
func (m *model) texts() map[string]*string {
	return map[string]*string{
		"display_name": m.DisplayName, "tenant": m.Tenant, "owner": m.Owner, "licence": m.Licence, "card": m.Card,
	}
}

func (m *model) plan(ctx context.Context, p *planner) (*Change, error) {
	var there model
	found, err := p.registry.Get(ctx, path(m.Name), &there)
	if err != nil {
		return nil, err
	}
	there.Task = bare(there.Task, "TASK_")
	if found && there.Task != "" {
		if err := fixed("task", m.Task, there.Task, "what a model's versions are for is said when it is made"); err != nil {
			return nil, err
		}
	}
	if found && there.Task == "" && m.Task != "" {
		return nil, fixed("task", m.Task, "", "the model was made without one, and its versions say what they are for")
	}
	labels := make(map[string]string, len(there.Labels))
	for name, value := range there.Labels {
		labels[name] = deref(value)
	}
	labelsBefore, labelsAfter, remove := merged(m.Labels, labels)
	before, after := map[string]any{"name": m.Name}, map[string]any{"name": m.Name}
	body := map[string]any{"labels": labelsAfter}
	if len(m.Labels) > 0 {
		before["labels"], after["labels"] = labelsBefore, labelsAfter
	}
	are := there.texts()
	for field, value := range m.texts() {
		if value != nil {
			body[field], after[field], before[field] = *value, *value, deref(are[field])
		}
	}
	if m.Task != "" {
		before["task"], after["task"] = there.Task, m.Task
	}
	c := &Change{apply: func(ctx context.Context) error {
		if !found {
			body["name"] = m.Name
			if m.Task != "" {
				body["task"] = enum(m.Task, "TASK_")
			}
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

// protection declares which of a model's aliases change only when another approves.
type protection struct {
	Kind      string   `yaml:"kind" json:"-"`
	Model     string   `yaml:"model" json:"model"`
	Protected []string `yaml:"protected" json:"protected"`
	Etag      string   `yaml:"-" json:"etag"`
	Status    any      `yaml:"status,omitempty" json:"-"`
}

func (a *protection) id() string { return "alias protection of " + a.Model }

func (a *protection) check() string {
	if a.Model == "" {
		return "an AliasProtection needs a model"
	}
	return ""
}

func (a *protection) plan(ctx context.Context, p *planner) (*Change, error) {
	var there protection
	if _, err := p.get(ctx, a.Model, path(a.Model, "alias-protection"), &there); err != nil {
		return nil, err
	}
	view := func(patterns []string) any {
		return map[string]any{"model": a.Model, "protected": slices.Sorted(slices.Values(patterns))}
	}
	c := &Change{}
	c.apply = func(ctx context.Context) error {
		var answer struct {
			Change struct {
				ID string `json:"id"`
			} `json:"change"`
		}
		err := p.registry.Send(ctx, http.MethodPut, path(a.Model, "alias-protection"),
			map[string]any{"protected": append([]string{}, a.Protected...), "etag": there.Etag}, &answer)
		c.Waiting = answer.Change.ID
		return err
	}
	return c.both(view(there.Protected), view(a.Protected))
}

// get is the registry's Get of something that belongs to a model. Nothing is there
// when the model is not, which is in order when a document makes it.
func (p *planner) get(ctx context.Context, model, path string, out any) (bool, error) {
	found, err := p.registry.Get(ctx, path, out)
	if err != nil || found || p.models[model] {
		return found, err
	}
	there, err := p.registry.Get(ctx, modelsPath+"/"+url.PathEscape(model), nil)
	if err == nil && !there {
		err = fmt.Errorf("there is no model %q, and no document makes it", model)
	}
	return false, err
}
