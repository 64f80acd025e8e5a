package authz

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// What cannot be judged for want of facts.
var (
	// ErrModelsUnknown says that the registry was never reached.
	ErrModelsUnknown = errors.New("authz: what the registry knows of models is not known here")
	// ErrNoModel says that there is no such model, or version, for the caller.
	ErrNoModel = errors.New("authz: there is no such model")
	// errNoVersion says that a condition asks for what only requests to a model have.
	errNoVersion = errors.New("authz: which version it is about is not known here")
)

// Models tells what is known of models. It must be safe for concurrent use, and
// ask nobody.
type Models interface {
	// Find returns what a reference may lead to for callers of the tenant: name, and
	// what follows it, an alias, v3 or a digest. The error is ErrModelsUnknown or
	// ErrNoModel.
	Find(name, reference, tenant string) (*ModelFacts, error)
}

// ModelFacts is what is known of a model. It is not changed once made.
type ModelFacts struct {
	// State changes with anything in it.
	State  string
	Labels map[string]string
	// Versions is every version that may answer, with the arm by which it may.
	Versions []ModelVersion
}

// ModelVersion is a version that may answer, and how a request comes to it.
type ModelVersion struct {
	Number  int32
	Digest  string
	Task    commonv1.Task
	Labels  map[string]string
	Aliases []string
	// Arm and Experiment are those that lead to it; empty where none does.
	Arm, Experiment string
	// Shadow says that it gets copies of requests, and answers none.
	Shadow bool
}

// OnlyDigest is that of the one version that may answer whoever names the model by the
// reference; empty where several may, or none.
func (f *ModelFacts) OnlyDigest(reference string) string {
	digest := ""
	for _, v := range f.Versions {
		switch {
		case v.Shadow || v.Digest == digest:
		case digest != "":
			return ""
		default:
			digest = v.Digest
		}
	}
	if digest != "" && strings.HasPrefix(reference, "sha256:") {
		return reference // it may be of one variant alone, which the version's is not
	}
	return digest
}

// same reports whether two are one place for an answer to come from.
func (v ModelVersion) same(w ModelVersion) bool {
	return v.Number == w.Number && v.Arm == w.Arm && v.Experiment == w.Experiment && v.Shadow == w.Shadow
}

// VersionVerdict is what the policies say of one version that may answer.
type VersionVerdict struct {
	ModelVersion

	Allowed bool
	Rule    string
}

// findModel finds out what the request's model is; nil where it is about none.
func (a *asker) findModel() {
	if a.looked {
		return
	}
	a.looked = true
	switch name := a.model(); {
	case name == "":
		a.facet.model = &ModelFacts{}
	case a.models == nil:
		a.modelErr = ErrModelsUnknown
	default:
		a.facet.model, a.modelErr = a.models(name, a.about.Reference)
		if errors.Is(a.modelErr, ErrNoModel) && a.res.Type != typeModel && a.action == "create" {
			a.facet.model, a.modelErr = &ModelFacts{}, nil // it is what is to be made
		}
	}
}

// facet is one of the ways in which a request may be answered: by which version,
// or from documents of which class.
type facet struct {
	model   *ModelFacts
	version *ModelVersion
	class   string
}

// key names the facet among those of one question, for what is remembered.
func (a *asker) facetKey(need fact) string {
	out := ""
	if need&(needLabels|needVersion) != 0 && a.facet.model != nil {
		out = a.facet.model.State
	}
	if v := a.facet.version; need&needVersion != 0 && v != nil {
		out += "\x00" + strconv.Itoa(int(v.Number)) + "\x00" + v.Arm + "\x00" + v.Experiment + "\x00" + strconv.FormatBool(v.Shadow)
	}
	if need&needClass != 0 {
		out += "\x00" + a.facet.class
	}
	return out
}

// labels is the model's, or why they are not known.
func (a *asker) labels() any {
	a.findModel()
	if a.modelErr != nil {
		return unknown(a.modelErr)
	}
	return labelsOf(a.facet.model.Labels)
}

// ofVersion is something of the version that may answer, or why that is not known.
func (a *asker) ofVersion(get func(v *ModelVersion) any) any {
	if a.model() == "" {
		return get(&ModelVersion{})
	}
	a.findModel()
	switch {
	case a.modelErr != nil:
		return unknown(a.modelErr)
	case a.facet.version == nil:
		return unknown(errNoVersion)
	}
	return get(a.facet.version)
}

func labelsOf(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// combine is what the policies say of a request whose answer may come from several
// versions. It is allowed if any of them is; the others are refused where it is
// known which one answers. What is asked for is the strictest of all that are.
func combine(versions []ModelVersion, judge func(v *ModelVersion) Decision) Decision {
	var out, refused *Decision
	var verdicts []VersionVerdict
	for i := range versions {
		v := &versions[i]
		if slices.ContainsFunc(versions[:i], v.same) {
			continue
		}
		d := judge(v)
		verdicts = append(verdicts, VersionVerdict{ModelVersion: *v, Allowed: d.Allowed, Rule: d.Rule})
		switch {
		case v.Shadow: // it answers nobody
		case !d.Allowed:
			if refused == nil {
				refused = &d
			}
		case out == nil:
			out = &d
		default:
			all, ok := out.Obligations.And(d.Obligations)
			if !ok {
				return Decision{Policy: d.Policy, Rule: d.Rule, Failure: errConflict, Why: WhyConflict, Versions: verdicts}
			}
			out.Obligations = all
		}
	}
	if out == nil {
		out = refused
	}
	if out == nil {
		return Decision{Failure: ErrNoModel, Why: WhyUnknown}
	}
	result := *out
	result.Versions = verdicts
	return result
}
