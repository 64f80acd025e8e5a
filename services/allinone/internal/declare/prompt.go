package declare

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const promptsPath = "/v1/registry/prompts"

func promptPath(segments ...string) string {
	escaped := []string{promptsPath}
	for _, s := range segments {
		escaped = append(escaped, url.PathEscape(s))
	}
	return strings.Join(escaped, "/")
}

// prompt declares versions of a prompt template, in the order in which they are
// made, and what its aliases name. Versions and aliases that are not named stay.
type prompt struct {
	Kind     string          `yaml:"kind" json:"-"`
	Name     string          `yaml:"name" json:"name"`
	Versions []promptVersion `yaml:"versions,omitempty" json:"-"`
	// Aliases name a version by its number or by its name in the document.
	Aliases map[string]ref `yaml:"aliases,omitempty" json:"-"`
	Status  any            `yaml:"status,omitempty" json:"-"`
}

// promptVersion is immutable; its description goes with one that is made.
type promptVersion struct {
	Name        string           `yaml:"name,omitempty" json:"-"`
	Number      int              `yaml:"number,omitempty" json:"number"`
	Digest      string           `yaml:"digest,omitempty" json:"digest"`
	Description string           `yaml:"description,omitempty" json:"description"`
	Messages    []promptMessage  `yaml:"messages" json:"messages"`
	Variables   []promptVariable `yaml:"variables,omitempty" json:"variables"`

	// number is what the registry has, or gave.
	number int
}

type promptMessage struct {
	Role    string `yaml:"role" json:"role"`
	Content string `yaml:"content" json:"content"`
}

type promptVariable struct {
	Name         string `yaml:"name" json:"name"`
	Description  string `yaml:"description,omitempty" json:"description,omitempty"`
	Required     bool   `yaml:"required,omitempty" json:"required,omitempty"`
	DefaultValue string `yaml:"default_value,omitempty" json:"default_value,omitempty"`
}

func (d *prompt) id() string { return "prompt " + d.Name }

func (d *prompt) check() string {
	if d.Name == "" || len(d.Versions)+len(d.Aliases) == 0 {
		return "a Prompt needs a name, and versions or aliases"
	}
	seen := map[string]bool{}
	for i, v := range d.Versions {
		switch {
		case len(v.Messages) == 0:
			return fmt.Sprintf("versions[%d] needs messages", i)
		case versionLike.MatchString(v.Name):
			return fmt.Sprintf("versions[%d].name %q would be taken for a version's number or digest", i, v.Name)
		case v.Name != "" && seen[v.Name]:
			return fmt.Sprintf("versions[%d].name %q comes twice", i, v.Name)
		}
		seen[v.Name] = true
	}
	for _, alias := range slices.Sorted(maps.Keys(d.Aliases)) {
		if to := d.Aliases[alias].text(); !versionLike.MatchString(to) && !seen[to] || to == "" {
			return fmt.Sprintf("aliases.%s: no version of the document has the name %q", alias, to)
		}
	}
	return ""
}

func (v *promptVersion) body(validateOnly bool) map[string]any {
	spec := map[string]any{"messages": v.Messages}
	if len(v.Variables) > 0 {
		spec["variables"] = v.Variables
	}
	out := map[string]any{"spec": spec, "description": v.Description}
	if validateOnly {
		out["validate_only"] = true
	}
	return out
}

// promptAlias is an alias that is there.
type promptAlias struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	Digest  string `json:"digest"`
	Etag    string `json:"etag"`
}

func (d *prompt) plan(ctx context.Context, p *planner) (*Change, error) {
	var there struct {
		Name    string        `json:"name"`
		Aliases []promptAlias `json:"aliases"`
	}
	found, err := p.registry.Get(ctx, promptPath(d.Name), &there)
	if err != nil {
		return nil, err
	}
	are := make(map[string]promptAlias, len(there.Aliases))
	for _, a := range there.Aliases {
		are[a.Name] = a
	}
	var before, after []any
	missing := []*promptVersion{}
	for i := range d.Versions {
		v := &d.Versions[i]
		var answer promptVersion
		if err := p.registry.Send(ctx, http.MethodPost, promptPath(d.Name, "versions"), v.body(true), &answer); err != nil {
			return nil, fmt.Errorf("versions[%d]: %w", i, err)
		}
		if err := d.claims(ctx, p, i, answer); err != nil {
			return nil, err
		}
		v.Digest, v.number = answer.Digest, answer.Number
		view := map[string]any{"digest": answer.Digest, "messages": v.Messages}
		after = append(after, view)
		if v.number == 0 {
			missing = append(missing, v)
		} else {
			before = append(before, view)
		}
	}
	wanted, err := d.targets(ctx, p)
	if err != nil {
		return nil, err
	}
	is, shall := map[string]string{}, map[string]string{}
	for alias, to := range wanted {
		shall[alias] = to.digest
		if a, ok := are[alias]; ok {
			is[alias] = a.Digest
		}
	}
	c := &Change{apply: func(ctx context.Context) error { return d.change(ctx, p, missing, wanted, are) }}
	view := func(versions []any, aliases map[string]string) map[string]any {
		return map[string]any{"name": d.Name, "versions": versions, "aliases": aliases}
	}
	if !found {
		return c.both(nil, view(after, shall))
	}
	return c.both(view(before, is), view(after, shall))
}

// claims holds what a document repeats of the registry's against what is so.
func (d *prompt) claims(ctx context.Context, p *planner, i int, is promptVersion) error {
	v := &d.Versions[i]
	field := fmt.Sprintf("versions[%d]", i)
	if err := fixed(field+".digest", v.Digest, is.Digest, "it is computed from the messages and variables"); err != nil {
		return err
	}
	if v.Number == 0 || v.Number == is.Number {
		return nil
	}
	if is.Number != 0 {
		return fmt.Errorf("%s.number cannot be changed by a file: this content is version %d", field, is.Number)
	}
	var other promptVersion
	found, err := p.registry.Get(ctx, promptPath(d.Name, "versions", strconv.Itoa(v.Number)), &other)
	if err == nil && found {
		err = fmt.Errorf("%s cannot be changed by a file: version %d is %s, and what a version says never changes; leave out number and digest to have a new one made",
			field, v.Number, other.Digest)
	}
	return err
}

// targets are the versions that the aliases shall name.
func (d *prompt) targets(ctx context.Context, p *planner) (map[string]target, error) {
	out := make(map[string]target, len(d.Aliases))
next:
	for alias, to := range d.Aliases {
		for i := range d.Versions {
			v := &d.Versions[i]
			if v.Name != "" && v.Name == to.text() || v.Digest == to.text() || v.Number != 0 && v.Number == number(to) {
				out[alias] = target{v.Digest, func() int { return v.number }}
				continue next
			}
		}
		var there promptVersion
		found, err := p.registry.Get(ctx, promptPath(d.Name, "versions", to.text()), &there)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, fmt.Errorf("aliases.%s: the prompt has no version %s", alias, to)
		}
		out[alias] = target{there.Digest, func() int { return there.Number }}
	}
	return out, nil
}

func (d *prompt) change(ctx context.Context, p *planner, missing []*promptVersion, wanted map[string]target, are map[string]promptAlias) error {
	for _, v := range missing {
		var made promptVersion
		if err := p.registry.Send(ctx, http.MethodPost, promptPath(d.Name, "versions"), v.body(false), &made); err != nil {
			return err
		}
		v.number = made.Number
		if v.Number != 0 && v.Number != made.Number {
			return fmt.Errorf("a version was made as number %d, not %d: the registry gives the numbers; leave number out", made.Number, v.Number)
		}
	}
	for _, alias := range slices.Sorted(maps.Keys(wanted)) {
		to, is := wanted[alias], are[alias]
		if is.Digest == to.digest {
			continue
		}
		err := p.registry.Send(ctx, http.MethodPut, promptPath(d.Name, "aliases", alias), map[string]any{"version": to.number(), "etag": is.Etag}, nil)
		if err != nil {
			return fmt.Errorf("alias %s: %w", alias, err)
		}
	}
	return nil
}
