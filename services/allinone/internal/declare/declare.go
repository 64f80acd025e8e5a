// Package declare keeps a registry as files say: it reads them, compares them with
// what the registry has, and changes what differs. Files can be applied any number
// of times. It knows the REST contract and nothing of terminals. Start reading at
// Read, for files, and at Plan, for what is made of them.
package declare

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Registry is the gateway's REST API.
type Registry interface {
	// Get decodes what is at path into out; false when nothing is there.
	Get(ctx context.Context, path string, out any) (bool, error)
	// Send sends body, and decodes the answer into out unless it is nil. An etag that
	// no longer holds is an error that IsConflict knows.
	Send(ctx context.Context, method, path string, body, out any) error
	// IsConflict reports whether somebody else made a change since what was read.
	IsConflict(err error) bool
}

// kind is a kind of document. What more there is to declare is one more row.
type kind struct {
	name string
	make func() resource
}

// kinds are in the order of dependency: what a later one names an earlier one makes.
func kinds() []kind {
	return []kind{
		{"Prompt", func() resource { return new(prompt) }},
		{"Model", func() resource { return new(model) }},
		{"Version", func() resource { return new(version) }},
		{"Alias", func() resource { return new(alias) }},
		{"Split", func() resource { return new(split) }},
		{"Experiment", func() resource { return new(experiment) }},
		{"AliasProtection", func() resource { return new(protection) }},
		{"Rollout", func() resource { return new(rollout) }},
	}
}

func kindNames() string {
	var out []string
	for _, k := range kinds() {
		out = append(out, k.name)
	}
	return strings.Join(out, ", ")
}

// resource is what a document of a kind declares.
type resource interface {
	// id names it, unique among all documents: `alias m/production`.
	id() string
	// check says what is wrong with it by itself; "" is nothing.
	check() string
	// plan compares it with what is there.
	plan(ctx context.Context, p *planner) (*Change, error)
}

// The actions of changes.
const (
	Create = "create"
	Update = "update"
	None   = "none"
)

// Change is what it takes to have one resource as its document says.
type Change struct {
	// Resource names it: `alias m/production`.
	Resource string `json:"resource"`
	// Position is where its document begins.
	Position Position `json:"-"`
	Action   string   `json:"action"`
	// Before and After are the part of it that the document speaks of, as YAML.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`

	// Waiting is the alias change that another subject has to approve before it is so;
	// set when it was applied.
	Waiting string `json:"waiting,omitempty"`

	// apply makes the change.
	apply func(ctx context.Context) error
}

// planner is one run over all documents.
type planner struct {
	registry Registry
	// models are those that documents declare, which may not be there yet.
	models map[string]bool
	// versions are those that documents name, by model and name.
	versions map[string]*version
}

// Plan compares all documents with the registry, in the order in which their
// changes are to be made. It changes nothing.
func Plan(ctx context.Context, registry Registry, documents []Document) ([]*Change, error) {
	p := &planner{registry: registry, versions: make(map[string]*version), models: make(map[string]bool)}
	for _, d := range documents {
		if m, ok := d.resource.(*model); ok {
			p.models[m.Name] = true
		}
		if v, ok := d.resource.(*version); ok && v.Name != "" {
			p.versions[v.Model+"/"+v.Name] = v
		}
	}
	ordered := slices.Clone(documents)
	slices.SortStableFunc(ordered, func(a, b Document) int { return a.rank - b.rank })
	changes := make([]*Change, 0, len(ordered))
	for _, d := range ordered {
		c, err := d.resource.plan(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", d.Position, d.resource.id(), err)
		}
		c.Resource, c.Position = d.resource.id(), d.Position
		switch c.Before {
		case c.After:
			c.Action = None
		case "":
			c.Action = Create
		default:
			c.Action = Update
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Apply makes the changes one after the other, and tells each of them to done. It
// ends at the first that fails: those before it are made, and the next run goes on.
func Apply(ctx context.Context, registry Registry, changes []*Change, done func(*Change)) error {
	for _, c := range changes {
		if c.Action != None {
			err := c.apply(ctx)
			switch {
			case registry.IsConflict(err):
				return fmt.Errorf("%s: %s: somebody else changed it since it was read; look again with diff: %w", c.Position, c.Resource, err)
			case err != nil:
				return fmt.Errorf("%s: %s: %w", c.Position, c.Resource, err)
			}
		}
		done(c)
	}
	return nil
}
