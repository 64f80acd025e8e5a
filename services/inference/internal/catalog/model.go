package catalog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/signing"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/inference/internal/split"
)

// ProductionAlias is the alias that answers a model's bare name.
const ProductionAlias = "production"

// Version is an immutable version of a model. It is not changed once made.
type Version struct {
	// Model is the model's name.
	Model string
	// Number is the version's number, from 1.
	Number int32
	// Digest names the version everywhere: `sha256:` and 64 hexadecimal digits.
	Digest string
	// Name is the version for people to read: name@v3.
	Name string
	// Spec says how to load it; read only.
	Spec *commonv1.ModelSpec
	// Variants are the forms in which it can be loaded, best first; its own weights
	// are among them.
	Variants []*Variant
	// Refused says why it must not serve; nil when it may.
	Refused error

	signatures []*registryv1.Signature
}

// Model is one model with everything that decides what serves it. It is not
// changed once made.
type Model struct {
	// State is the registry's own message; read only.
	State *registryv1.ModelState
	// Versions are ordered by number.
	Versions []*Version
	// Aliases map an alias to the version it names.
	Aliases map[string]*Version
	// Arms are those of the split; empty when there is none.
	Arms []Arm
	// Experiments are those that run, in the order in which they are asked.
	Experiments []*Experiment
	// Copied is the shadow of a rollout; nil when there is none.
	Copied *Shadow
	// Division is what the split does; nil when there is none.
	Division *Division

	salt    string
	weights []uint32
}

// Arm is one part of a split's traffic.
type Arm struct {
	Name    string
	Version *Version
	// Weight is in millionths.
	Weight uint32
	// Prompt is what its conversations begin with, or nil.
	Prompt *registryv1.PromptReference
}

// newModel reads a model's state. What names a version that is not there is
// left out: the registry does not send it, and a request must not fail on it.
func newModel(state *registryv1.ModelState, trust signing.Policy) *Model {
	m := &Model{State: state, Aliases: make(map[string]*Version, len(state.GetAliases()))}
	name := state.GetModel().GetName()
	for _, v := range state.GetVersions() {
		one := &Version{
			Model: name, Number: v.GetNumber(), Digest: v.GetDigest(), Spec: v.GetSpec(),
			Name: name + "@v" + strconv.Itoa(int(v.GetNumber())),
		}
		one.signatures = v.GetSignatures()
		one.Refused = signing.Check(trust, one.Digest, one.signatures)
		one.Variants = variantsOf(one, v.GetVariants(), trust)
		m.Versions = append(m.Versions, one)
	}
	slices.SortFunc(m.Versions, func(a, b *Version) int { return int(a.Number - b.Number) })
	for _, a := range state.GetAliases() {
		if v := m.Number(a.GetVersion()); v != nil {
			m.Aliases[a.GetName()] = v
		}
	}
	m.readSplit(state.GetSplit())
	m.readExperiments(state.GetExperiments())
	m.readRollout(state.GetRollout())
	return m
}

func (m *Model) readSplit(s *registryv1.Split) {
	var total uint64
	var arms []Arm
	var weights []uint32
	for _, a := range s.GetArms() {
		v := m.Number(a.GetVersion())
		if v == nil || a.GetWeight() < 0 {
			return
		}
		w := uint32(a.GetWeight())
		total += uint64(w)
		arms = append(arms, Arm{Name: a.GetName(), Version: v, Weight: w, Prompt: a.GetPrompt()})
		weights = append(weights, w)
	}
	// A split that does not add up would send part of the traffic nowhere.
	if total == split.Total {
		m.Arms, m.weights, m.salt, m.Division = arms, weights, s.GetSalt(), divisionOf(s)
	}
}

// Name is the model's name in the registry.
func (m *Model) Name() string { return m.State.GetModel().GetName() }

// Number returns the version of that number, or nil.
func (m *Model) Number(n int32) *Version {
	i, ok := slices.BinarySearchFunc(m.Versions, n, func(v *Version, n int32) int { return int(v.Number - n) })
	if !ok {
		return nil
	}
	return m.Versions[i]
}

// Default returns the version that answers the model's name where no split
// decides: the one that `production` names, else the only one there is, else
// nil.
func (m *Model) Default() *Version {
	if v := m.Aliases[ProductionAlias]; v != nil {
		return v
	}
	if len(m.Versions) == 1 && m.State.GetOmittedVersions() == 0 {
		return m.Versions[0]
	}
	return nil
}

// Reachable returns the versions that the model's bare name may reach, without
// repetition: the arms with a weight, or the default, and the experiments' arms.
func (m *Model) Reachable() []*Version {
	var out []*Version
	for _, a := range m.Arms {
		if a.Weight > 0 && !slices.Contains(out, a.Version) {
			out = append(out, a.Version)
		}
	}
	if v := m.Default(); len(m.Arms) == 0 && v != nil {
		out = append(out, v)
	}
	for _, e := range m.Experiments {
		for _, a := range e.Arms {
			if a.Weight > 0 && !slices.Contains(out, a.Version) {
				out = append(out, a.Version)
			}
		}
	}
	return slices.DeleteFunc(out, func(v *Version) bool { return v.Refused != nil })
}

// serving returns every version that some name leads to: the default, the
// aliases, all arms and what shadows copy to. Arms of weight 0 count, so that a version is loaded
// before its first traffic arrives.
func (m *Model) serving() []*Version {
	out := make([]*Version, 0, len(m.Aliases)+len(m.Arms)+1)
	if v := m.Default(); v != nil {
		out = append(out, v)
	}
	for _, v := range m.Aliases {
		out = append(out, v)
	}
	for _, a := range m.Arms {
		out = append(out, a.Version)
	}
	for _, e := range m.Experiments {
		for _, a := range e.Arms {
			out = append(out, a.Version)
		}
		if e.Shadow != nil {
			out = append(out, e.Shadow.Version)
		}
	}
	if m.Copied != nil {
		out = append(out, m.Copied.Version)
	}
	return slices.DeleteFunc(out, func(v *Version) bool { return v.Refused != nil })
}

// choose returns the arm that key falls into.
func (m *Model) choose(key string) Arm {
	return m.Arms[split.Choose(m.weights, split.Point(m.salt, key))]
}

func compareVersions(a, b *Version) int {
	if c := strings.Compare(a.Digest, b.Digest); c != 0 {
		return c
	}
	return strings.Compare(a.Model, b.Model)
}
