// Package catalog knows which models there are and which version answers a
// reference, from the registry's watch stream. It keeps the last state it was
// told, so the registry may be away while traffic flows. It knows nothing of
// workers; start reading at Snapshot, then at Follower.
package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/signing"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/reference"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// Snapshot is every model at one revision of the registry. It is not changed
// once made, so readers need no lock.
type Snapshot struct {
	revision int64
	models   map[string]*Model
	names    []string        // sorted
	serving  []*Version      // sorted by digest and model
	served   map[string]bool // digests of their variants, but their own
	trust    signing.Policy
	prompts  map[string]*Prompt
	// withPrompts says that the registry sends prompts: without, it is an older one.
	withPrompts bool
}

// Target is what a reference leads to.
type Target struct {
	Version *Version
	// Variant is the form that was asked for by its digest, or nil.
	Variant *Variant
	// Experiment is the one that decided, or "", and Arm the arm of it, or of the
	// model's plain split; "" where neither decided.
	Experiment, Arm string
	// Prompt is the one that the arm names, or nil.
	Prompt *registryv1.PromptReference
	// Shadow says that another version gets a copy of the request; nil: none does.
	Shadow *Shadow
	// Division is what decided, or nil: also where a tester was given an arm. Key is
	// what an experiment's decision is stuck to.
	Division *Division
	Key      string
}

// NewSnapshot returns the snapshot of the given states.
func NewSnapshot(revision int64, states []*registryv1.ModelState) *Snapshot {
	return newSnapshot(revision, states, signing.Policy{})
}

func newSnapshot(revision int64, states []*registryv1.ModelState, trust signing.Policy) *Snapshot {
	models := make(map[string]*Model, len(states))
	for _, s := range states {
		models[s.GetModel().GetName()] = newModel(s, trust)
	}
	return index(revision, models, trust)
}

// Trusting returns the same state where nothing serves that the policy refuses.
func (s *Snapshot) Trusting(trust signing.Policy) *Snapshot {
	if s == nil || !trust.Required() {
		return s
	}
	states := make([]*registryv1.ModelState, 0, len(s.models))
	for _, m := range s.models {
		states = append(states, m.State)
	}
	return newSnapshot(s.revision, states, trust).prompting(s.prompts, s.withPrompts)
}

// prompting gives a snapshot that nobody has yet its prompts.
func (s *Snapshot) prompting(prompts map[string]*Prompt, with bool) *Snapshot {
	s.prompts, s.withPrompts = prompts, with
	return s
}

// index makes the derived parts of a snapshot; it keeps models.
func index(revision int64, models map[string]*Model, trust signing.Policy) *Snapshot {
	s := &Snapshot{revision: revision, models: models, names: slices.Sorted(maps.Keys(models)), trust: trust}
	for _, name := range s.names {
		s.serving = append(s.serving, models[name].serving()...)
	}
	slices.SortFunc(s.serving, compareVersions)
	s.serving = slices.Compact(s.serving)
	for _, v := range s.serving {
		for _, one := range v.Variants {
			if one.Digest == v.Digest {
				continue
			}
			if s.served == nil {
				s.served = make(map[string]bool)
			}
			s.served[one.Digest] = true
		}
	}
	return s
}

// with returns the snapshot after one model changed; s stays as it is.
func (s *Snapshot) with(revision int64, state *registryv1.ModelState) *Snapshot {
	models := maps.Clone(s.models)
	models[state.GetModel().GetName()] = newModel(state, s.trust)
	return index(revision, models, s.trust).prompting(s.prompts, s.withPrompts)
}

// without returns the snapshot after one model was removed; s stays as it is.
func (s *Snapshot) without(revision int64, name string) *Snapshot {
	models := maps.Clone(s.models)
	delete(models, name)
	return index(revision, models, s.trust).prompting(s.prompts, s.withPrompts)
}

// withPrompt returns the snapshot after a prompt changed; s stays as it is.
func (s *Snapshot) withPrompt(revision int64, state *registryv1.PromptState) *Snapshot {
	c := s.at(revision)
	c.prompts = maps.Clone(s.prompts)
	if c.prompts == nil {
		c.prompts = make(map[string]*Prompt)
	}
	c.prompts[state.GetPrompt().GetName()] = newPrompt(state)
	return c
}

// at returns the same models at another revision.
func (s *Snapshot) at(revision int64) *Snapshot {
	c := *s
	c.revision = revision
	return &c
}

// Revision is the registry's revision that the snapshot shows.
func (s *Snapshot) Revision() int64 { return s.revision }

// Len is the number of models.
func (s *Snapshot) Len() int { return len(s.names) }

// Model returns the model of that name.
func (s *Snapshot) Model(name string) (*Model, bool) {
	m, ok := s.models[name]
	return m, ok
}

// Page returns up to n models whose names come after the given one, by name,
// and whether there are more.
func (s *Snapshot) Page(after string, n int) ([]*Model, bool) {
	from, found := slices.BinarySearch(s.names, after)
	if found {
		from++
	}
	to := min(from+n, len(s.names))
	out := make([]*Model, 0, to-from)
	for _, name := range s.names[from:to] {
		out = append(out, s.models[name])
	}
	return out, to < len(s.names)
}

// Serving returns the versions that some name leads to, by digest and then by
// model: several models may have the very same one. Read only.
func (s *Snapshot) Serving() []*Version { return s.serving }

// Serves reports whether some name leads to the digest, or to the version of
// which it names a variant.
func (s *Snapshot) Serves(digest string) bool {
	_, ok := slices.BinarySearchFunc(s.serving, digest, func(v *Version, d string) int {
		return compareVersions(v, &Version{Digest: d, Model: v.Model})
	})
	return ok || s.served[digest]
}

// Resolve is Decide for a request of which nothing but the routing key is known.
func (s *Snapshot) Resolve(model, key string) (Target, error) {
	return s.Decide(model, &split.Subject{User: key, Request: key})
}

// Decide returns the version that a reference leads to, and the variant when it
// is a digest. A bare name follows the model's experiments, then its split, then
// the alias `production`, then the only version. Errors are MODEL_NOT_FOUND,
// INVALID_ARGUMENT and FAILED_PRECONDITION.
func (s *Snapshot) Decide(model string, who *split.Subject) (Target, error) {
	t, err := s.decide(model, who)
	if err == nil && t.Version.Refused != nil {
		return Target{}, apierr.New(apierr.FailedPrecondition, "%s must not serve: %v", t.Version.Name, t.Version.Refused).
			WithField("model").WithMetadata("model", t.Version.Model)
	}
	return t, err
}

func (s *Snapshot) decide(model string, who *split.Subject) (Target, error) {
	// Nearly every request names a model and nothing else.
	if m, ok := s.models[model]; ok {
		return m.byName(who)
	}
	ref, err := reference.Parse(model)
	if err != nil {
		return Target{}, apierr.Invalid("model", "%v", err)
	}
	m, ok := s.models[ref.Name]
	if !ok {
		return Target{}, notFound(ref, "there is no model %q", ref.Name)
	}
	t := m.qualified(ref)
	if n := m.State.GetOmittedVersions(); t.Version == nil && n > 0 && ref.Kind != reference.Alias {
		return Target{}, notFound(ref, "model %q has no %s among those that can be asked for: its %d oldest, which no alias and no split names, "+
			"have to be named by an alias first", ref.Name, qualifier(ref), n)
	}
	if t.Version == nil {
		return Target{}, notFound(ref, "model %q has no %s", ref.Name, qualifier(ref))
	}
	return t, nil
}

func (m *Model) byName(who *split.Subject) (Target, error) {
	t, decided := m.decide(who)
	if decided {
		return t, nil
	}
	if len(m.Arms) > 0 {
		key := who.User
		if key == "" {
			key = who.Request
		}
		arm := m.choose(key)
		t.Version, t.Arm, t.Prompt, t.Division = arm.Version, arm.Name, arm.Prompt, m.Division
		return t, nil
	}
	if v := m.Default(); v != nil {
		t.Version = v
		return t, nil
	}
	if len(m.Versions) == 0 {
		return Target{}, precondition(m, "model %q has no version yet: create one", m.Name())
	}
	if m.State.GetOmittedVersions() > 0 {
		return Target{}, precondition(m, "model %q has many versions and nothing says which of them serves: point its alias %q at one",
			m.Name(), ProductionAlias)
	}
	return Target{}, precondition(m, "model %q has %d versions and nothing says which of them serves: "+
		"point its alias %q at one, or name one, such as %s@v%d",
		m.Name(), len(m.Versions), ProductionAlias, m.Name(), m.Versions[len(m.Versions)-1].Number)
}

func (m *Model) qualified(ref reference.Ref) (t Target) {
	switch ref.Kind {
	case reference.Alias:
		t.Version = m.Aliases[ref.Alias]
	case reference.Number:
		t.Version = m.Number(ref.Number)
	case reference.Digest:
		t.Version, t.Variant = m.digest(ref.Digest)
	case reference.Default:
	}
	return t
}

func qualifier(ref reference.Ref) string {
	switch ref.Kind {
	case reference.Alias:
		return fmt.Sprintf("alias %q", ref.Alias)
	case reference.Number:
		return fmt.Sprintf("version %d", ref.Number)
	case reference.Digest:
		return "version " + ref.Digest
	case reference.Default:
		return "default version"
	default:
		return "such version"
	}
}

func notFound(ref reference.Ref, format string, args ...any) error {
	return apierr.New(apierr.ModelNotFound, format, args...).WithField("model").WithMetadata("model", ref.String())
}

func precondition(m *Model, format string, args ...any) error {
	return apierr.New(apierr.FailedPrecondition, format, args...).WithField("model").WithMetadata("model", m.Name())
}
