// Package models is what the edge knows of models: labels, versions, aliases and
// arms, as rules of policies ask for them. It follows the registry's watch, and asks
// nobody for a request. Which version answers is the inference service's to decide;
// this package says which ones may. Start reading at Set.Find, then at Follower.
package models

import (
	"maps"
	"strconv"
	"strings"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

// production is the alias that answers a model's bare name.
const production = "production"

// wholeSplit is what the shares of a split add up to.
const wholeSplit = 1_000_000

// shadowArm is the arm that copies are counted for.
const shadowArm = "shadow"

// Set is every model at one revision of the registry. It is not changed once made.
type Set struct{ models map[string]*model }

// model is what is kept of one.
type model struct {
	tenant   string // whose it is; empty: everybody's
	state    string
	labels   map[string]string
	versions map[int32]authz.ModelVersion
	digests  map[string]int32 // of versions and their variants
	aliases  map[string]int32
	// bare is what the model's name alone may lead to.
	bare []authz.ModelVersion
}

// with returns the set with a model changed; s stays as it is.
func (s *Set) with(name string, m *model) *Set {
	out := &Set{models: maps.Clone(s.models)}
	out.models[name] = m
	return out
}

// without returns the set without a model; s stays as it is.
func (s *Set) without(name string) *Set {
	out := &Set{models: maps.Clone(s.models)}
	delete(out.models, name)
	return out
}

// Any reports whether callers of the tenant see a model of a name that is meant.
func (s *Set) Any(tenant, platform string, meant func(name string) bool) bool {
	for name, m := range s.models {
		if m.seen(tenant, platform) && meant(name) {
			return true
		}
	}
	return false
}

// seen reports whether callers of the tenant see the model.
func (m *model) seen(tenant, platform string) bool {
	return m.tenant == "" || m.tenant == tenant || tenant == platform
}

// Find returns what a reference may lead to for callers of the tenant; platform's
// see every model. It returns authz.ErrNoModel where that is nothing.
func (s *Set) Find(name, reference, tenant, platform string) (*authz.ModelFacts, error) {
	m := s.models[name]
	if m == nil || !m.seen(tenant, platform) {
		return nil, authz.ErrNoModel
	}
	out := &authz.ModelFacts{State: m.state, Labels: m.labels}
	if reference == "" {
		out.Versions = m.bare
		return out, nil
	}
	v, ok := m.versions[m.number(reference)]
	if !ok {
		return nil, authz.ErrNoModel
	}
	out.Versions = []authz.ModelVersion{v}
	return out, nil
}

// number is that of the version that a reference names, or 0.
func (m *model) number(reference string) int32 {
	if strings.HasPrefix(reference, "sha256:") {
		return m.digests[reference]
	}
	if digits, ok := strings.CutPrefix(reference, "v"); ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
		n, err := strconv.ParseInt(digits, 10, 32)
		if err != nil {
			return 0
		}
		return int32(n)
	}
	return m.aliases[reference]
}

// read makes a model of the registry's state.
func read(s *registryv1.ModelState, state string) *model {
	m := &model{
		tenant: s.GetModel().GetTenant(), state: state, labels: s.GetModel().GetLabels(), versions: make(map[int32]authz.ModelVersion),
		digests: make(map[string]int32), aliases: make(map[string]int32),
	}
	named := make(map[int32][]string)
	for _, a := range s.GetAliases() {
		m.aliases[a.GetName()] = a.GetVersion()
		named[a.GetVersion()] = append(named[a.GetVersion()], a.GetName())
	}
	for _, v := range s.GetVersions() {
		m.versions[v.GetNumber()] = authz.ModelVersion{
			Number: v.GetNumber(), Digest: v.GetDigest(), Task: v.GetSpec().GetTask(), Labels: v.GetLabels(), Aliases: named[v.GetNumber()],
		}
		for _, variant := range v.GetVariants() {
			m.digests[variant.GetDigest()] = v.GetNumber()
		}
	}
	for _, v := range s.GetVersions() { // after: a variant may have a version's own digest
		m.digests[v.GetDigest()] = v.GetNumber()
	}
	m.readBare(s)
	return m
}

// readBare finds out what the model's name alone may lead to: the arms of the
// experiments that run, those of the split or else the default, and what gets
// copies. An experiment may be for few; its arms are then more than is needed.
func (m *model) readBare(s *registryv1.ModelState) {
	for _, e := range s.GetExperiments() {
		if e.GetState() != registryv1.ExperimentState_EXPERIMENT_STATE_RUNNING {
			continue
		}
		for _, a := range e.GetArms() { // testers may be given one without a weight
			m.add(m.named(a.GetVersion(), a.GetAlias()), a.GetName(), e.GetName(), false)
		}
		if sh := e.GetShadow(); sh != nil {
			m.add(m.named(sh.GetVersion(), sh.GetAlias()), shadowArm, e.GetName(), true)
		}
	}
	if r := s.GetRollout(); r.GetShadow() != nil && r.GetState() == registryv1.RolloutState_ROLLOUT_STATE_RUNNING {
		m.add(r.GetCandidate(), shadowArm, "", true)
	}
	if m.splits(s.GetSplit()) {
		for _, a := range s.GetSplit().GetArms() {
			if a.GetWeight() > 0 {
				m.add(a.GetVersion(), a.GetName(), "", false)
			}
		}
		return
	}
	number, ok := m.aliases[production]
	if _, there := m.versions[number]; (!ok || !there) && len(s.GetVersions()) == 1 && s.GetOmittedVersions() == 0 {
		number = s.GetVersions()[0].GetNumber()
	}
	m.add(number, "", "", false)
}

func (m *model) named(number int32, alias string) int32 {
	if alias != "" {
		return m.aliases[alias]
	}
	return number
}

// splits reports whether the split decides: one that does not add up, or names what
// is not there, does not.
func (m *model) splits(s *registryv1.Split) bool {
	total := 0
	for _, a := range s.GetArms() {
		if _, ok := m.versions[a.GetVersion()]; !ok || a.GetWeight() < 0 {
			return false
		}
		total += int(a.GetWeight())
	}
	return total == wholeSplit
}

func (m *model) add(number int32, arm, experiment string, shadow bool) {
	v, ok := m.versions[number]
	if !ok {
		return
	}
	v.Arm, v.Experiment, v.Shadow = arm, experiment, shadow
	m.bare = append(m.bare, v)
}
