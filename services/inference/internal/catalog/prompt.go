package catalog

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/prompt"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// Prompt is a prompt with those of its versions that the registry sends. It is not
// changed once made.
type Prompt struct {
	// State is the registry's own message; read only.
	State *registryv1.PromptState

	versions []*PromptVersion // by number
}

// armPromptWait is after what time a request may be tried again whose arm's prompt
// is not there.
const armPromptWait = time.Second

// PromptVersion is an immutable version of a prompt. It is safe for concurrent use.
type PromptVersion struct {
	// Prompt is the prompt's name, Number the version's, and Digest names both.
	Prompt string
	Number int32
	Digest string

	// read makes the template at its first use: most versions are never used.
	read func() (*prompt.Template, error)
}

// Template returns what can be filled in.
func (v *PromptVersion) Template() (*prompt.Template, error) {
	t, err := v.read()
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the prompt %s@v%d cannot be read", v.Prompt, v.Number)
	}
	return t, nil
}

func newPrompt(state *registryv1.PromptState) *Prompt {
	p := &Prompt{State: state}
	for _, v := range state.GetVersions() {
		p.versions = append(p.versions, &PromptVersion{
			Prompt: state.GetPrompt().GetName(), Number: v.GetNumber(), Digest: v.GetDigest(),
			read: sync.OnceValues(func() (*prompt.Template, error) { return prompt.Compile(v.GetSpec()) }),
		})
	}
	return p
}

// find returns the version that the test is true of, or nil.
func (p *Prompt) find(is func(*PromptVersion) bool) *PromptVersion {
	if i := slices.IndexFunc(p.versions, is); i >= 0 {
		return p.versions[i]
	}
	return nil
}

func (p *Prompt) number(n int32) *PromptVersion {
	return p.find(func(v *PromptVersion) bool { return v.Number == n })
}

func (p *Prompt) alias(name string) *PromptVersion {
	for _, a := range p.State.GetPrompt().GetAliases() {
		if a.GetName() == name {
			return p.number(a.GetVersion())
		}
	}
	return nil
}

// Prompt returns the version of a prompt that a request names by number (`3` or
// `v3`), digest or alias; "" is the alias `production`. Errors are NOT_FOUND.
func (s *Snapshot) Prompt(name, version string) (*PromptVersion, error) {
	p, ok := s.prompts[name]
	if !ok {
		return nil, apierr.New(apierr.NotFound, "there is no prompt %q", name).WithField("prompt.id")
	}
	if version == "" {
		version = ProductionAlias
	}
	var v *PromptVersion
	number, err := strconv.ParseInt(strings.TrimPrefix(version, "v"), 10, 32)
	switch {
	case err == nil:
		v = p.number(int32(number))
	case strings.HasPrefix(version, "sha256:"):
		v = p.find(func(v *PromptVersion) bool { return v.Digest == version })
	default:
		v = p.alias(version)
	}
	if v != nil {
		return v, nil
	}
	if n := p.State.GetOmittedVersions(); n > 0 {
		return nil, apierr.New(apierr.NotFound, "the prompt %q has no version %q among those that can be asked for: "+
			"of its %d oldest, those count that an alias names", name, version, n).WithField("prompt.version")
	}
	return nil, apierr.New(apierr.NotFound, "the prompt %q has no version %q", name, version).WithField("prompt.version")
}

// ArmPrompt returns the version of a prompt that an arm names. It is there but for
// the moment in which the arm was told of and the prompt is not yet.
func (s *Snapshot) ArmPrompt(ref *registryv1.PromptReference) (*PromptVersion, error) {
	var v *PromptVersion
	if p := s.prompts[ref.GetPrompt()]; p != nil && ref.GetAlias() != "" {
		v = p.alias(ref.GetAlias())
	} else if p != nil {
		v = p.number(ref.GetVersion())
	}
	if v == nil {
		return nil, apierr.New(apierr.Unavailable, "the prompt %q that the arm names is not known here yet; try again", ref.GetPrompt()).
			WithRetryAfter(armPromptWait)
	}
	return v, nil
}

// readPrompts makes prompts of their states.
func readPrompts(states []*registryv1.PromptState) map[string]*Prompt {
	out := make(map[string]*Prompt, len(states))
	for _, st := range states {
		out[st.GetPrompt().GetName()] = newPrompt(st)
	}
	return out
}
