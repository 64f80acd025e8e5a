package authz

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// errConflict says that rules which allow a request each force another model.
var errConflict = errors.New("authz: the rules that allow this force different models")

// Verdict is what the policies say of a call as a whole.
type Verdict struct {
	Decision

	// Resource is what the call is about; the zero value for a public method.
	Resource Resource
	// Models is what is said of the versions of each model that was asked about, and
	// where that makes a difference.
	Models map[string][]VersionVerdict
}

// Check refuses the caller's request unless the policy allows it.
func (a *Authorizer) Check(ctx context.Context, m Method, caller identity.Caller, req any) error {
	_, err := a.Judge(ctx, m, caller, req)
	return err
}

// Judge says whether the caller may make the request, and what must then be
// fulfilled. All of it is judged by one snapshot.
func (a *Authorizer) Judge(ctx context.Context, m Method, caller identity.Caller, req any) (Verdict, error) {
	return a.judge(ctx, m, caller, req, "")
}

// JudgeModel is Judge for a request that is to be answered by another model than it
// names, as if it named that.
func (a *Authorizer) JudgeModel(ctx context.Context, m Method, caller identity.Caller, req any, model string) (Verdict, error) {
	return a.judge(ctx, m, caller, req, model)
}

// judge judges a request; model stands for the one that it names, unless it is empty.
func (a *Authorizer) judge(ctx context.Context, m Method, caller identity.Caller, req any, model string) (Verdict, error) {
	switch m.Access {
	case Public:
		return Verdict{}, nil
	case Checked:
		v := Verdict{Resource: a.Resource(m, caller.Tenant, req)}
		snapshot := a.Current()
		r := ask{caller: caller, action: m.Action, res: v.Resource, about: aboutOf(req)}
		if model != "" && r.res.Type == typeModel {
			r.res.ID, r.about.Reference = bareName(model), referenceOf(model)
			v.Resource = r.res
		}
		v.Decision = a.decide(ctx, snapshot, r)
		if a.watcher.Load() != nil {
			a.watch(ctx, r, v.Decision)
		}
		if err := refused(m.Action, v.Resource, v.Decision); err != nil {
			return v, err
		}
		v.note(v.Resource, v.Decision)
		v.Obligations = relevant(v.Resource.Type, m.Action, v.Obligations)
		if err := a.judgeForced(ctx, snapshot, r, &v); err != nil {
			return v, err
		}
		if err := a.judgeAlso(ctx, snapshot, m, r, req, &v); err != nil {
			return v, err
		}
		return v, fulfillable(m, v)
	case Never:
		return Verdict{}, notOffered()
	default:
		return Verdict{}, notOffered()
	}
}

func refused(action string, res Resource, d Decision) error {
	if d.Allowed {
		return nil
	}
	if res.Type == typeModel && res.ID != "" && errors.Is(d.Failure, ErrNoModel) {
		return apierr.New(apierr.ModelNotFound, "there is no model %q", res.ID).WithField("model").WithMetadata("model", res.ID)
	}
	if errors.Is(d.Failure, ErrModelsUnknown) {
		return apierr.New(apierr.Unavailable, "the policy asks for what the registry knows of the model, which is not known here yet; try again").
			WithRetryAfter(time.Second)
	}
	return refusal(d.Why, action, res)
}

func conflict() error {
	return apierr.New(apierr.PermissionDenied, "the policy's rules for this request force different models, which no answer fulfils")
}

// judgeForced asks for the forced model what was asked for the one requested: a
// policy that forces it does not give it.
func (a *Authorizer) judgeForced(ctx context.Context, s *Snapshot, r ask, v *Verdict) error {
	forced := v.Obligations.Model
	if forced == "" || r.res.Type != typeModel || bareName(forced) == r.res.ID {
		return nil
	}
	r.res.ID, r.about.Reference = bareName(forced), referenceOf(forced)
	return v.require(a.decide(ctx, s, r), r.action, r.res)
}

// judgeAlso asks for what else the request needs.
func (a *Authorizer) judgeAlso(ctx context.Context, s *Snapshot, m Method, r ask, req any, v *Verdict) error {
	if m.Also == nil {
		return nil
	}
	for _, p := range m.Also(req) {
		res := Resource{Type: p.Type, ID: p.ID, Tenant: r.caller.Tenant}
		about := r.about
		if p.Type == typeModel {
			about.Reference = p.Reference
		}
		d := a.decide(ctx, s, ask{caller: r.caller, action: p.Action, res: res, about: about})
		if d.Obligations.Model == p.ID {
			d.Obligations.Model = "" // it is the one
		}
		if err := v.require(d, p.Action, res); err != nil {
			return err
		}
		if some(d.Versions) {
			// Search asks for the model itself: nobody there tells the versions apart.
			v.Allowed, v.Why = false, WhyUnknown
			return apierr.New(apierr.PermissionDenied, "the policy lets you have some versions of the model %.64q only: name one of them", p.ID)
		}
	}
	return nil
}

// some reports whether some versions may answer and others may not.
func some(versions []VersionVerdict) bool {
	return slices.ContainsFunc(versions, func(v VersionVerdict) bool { return !v.Allowed && !v.Shadow })
}

// require adds a decision that the call depends on too.
func (v *Verdict) require(d Decision, action string, res Resource) error {
	if err := refused(action, res, d); err != nil {
		v.Why = d.Why
		v.Allowed, v.Rule, v.Failure = false, d.Rule, d.Failure
		return err
	}
	all, ok := v.Obligations.And(relevant(res.Type, action, d.Obligations))
	if !ok {
		v.Allowed, v.Rule, v.Failure = false, d.Rule, errConflict
		return conflict()
	}
	v.Obligations = all
	v.Classes = v.Classes.And(d.Classes)
	v.note(res, d)
	return nil
}

// note keeps what is said of the versions of a model.
func (v *Verdict) note(res Resource, d Decision) {
	if d.Versions == nil || res.Type != typeModel {
		return
	}
	if v.Models == nil {
		v.Models = make(map[string][]VersionVerdict)
	}
	v.Models[res.ID] = d.Versions
}

const typeModel = "model"

// relevant leaves out what has no meaning for an action: where nothing is
// generated there is nothing to bound, and where no model answers none to force.
func relevant(typ, action string, o obligation.Set) obligation.Set {
	if typ != typeModel || !slices.Contains([]string{"chat", "complete", "infer"}, action) {
		o.MaxTokens = 0
	}
	if typ != typeModel || action == "get" || action == "list" {
		o.Model = ""
	}
	if typ == typeModel && (action == "get" || action == "list") {
		o.Redact = false
	}
	return o
}

// fulfilling is the actions on models whose handlers fulfil every obligation.
func fulfilling() []string { return []string{"chat", "complete", "embed", "rerank"} }

// fulfillable refuses what nobody would fulfil.
func fulfillable(m Method, v Verdict) error {
	o := v.Obligations
	if v.Classes != nil && !v.filters(m) {
		return apierr.New(apierr.PermissionDenied, "the policy lets you have documents of some classes only: search, list or get them instead")
	}
	if o.Model == "" && o.MaxTokens == 0 && !o.Redact || m.Type == typeModel && slices.Contains(fulfilling(), m.Action) {
		return nil
	}
	return apierr.New(apierr.PermissionDenied, "the policy allows this only with obligations that cannot be fulfilled here: ask for chat, completions, embeddings or rerank instead")
}

// filters reports whether what the method answers is held to classes of documents.
func (v *Verdict) filters(m Method) bool {
	switch m.Type {
	case typeModel:
		return m.Action == "chat"
	case "collection":
		return m.Action == "search"
	case "document":
		return m.Action == "get" || m.Action == "list"
	}
	return false
}
