package authz

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

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
}

// Check refuses the caller's request unless the policy allows it.
func (a *Authorizer) Check(ctx context.Context, m Method, caller identity.Caller, req any) error {
	_, err := a.Judge(ctx, m, caller, req)
	return err
}

// Judge says whether the caller may make the request, and what must then be
// fulfilled. All of it is judged by one snapshot.
func (a *Authorizer) Judge(ctx context.Context, m Method, caller identity.Caller, req any) (Verdict, error) {
	switch m.Access {
	case Public:
		return Verdict{}, nil
	case Checked:
		v := Verdict{Resource: a.Resource(m, caller.Tenant, req)}
		snapshot := a.Current()
		r := ask{caller: caller, action: m.Action, res: v.Resource, about: aboutOf(req)}
		v.Decision = a.decide(ctx, snapshot, r)
		if a.watcher.Load() != nil {
			a.watch(ctx, r, v.Decision)
		}
		if err := refused(m.Action, v.Resource, v.Decision); err != nil {
			return v, err
		}
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
	if errors.Is(d.Failure, errConflict) {
		return conflict()
	}
	return Refusal(action, res)
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
		d := a.decide(ctx, s, ask{caller: r.caller, action: p.Action, res: res, about: r.about})
		if d.Obligations.Model == p.ID {
			d.Obligations.Model = "" // it is the one
		}
		if err := v.require(d, p.Action, res); err != nil {
			return err
		}
	}
	return nil
}

// require adds a decision that the call depends on too.
func (v *Verdict) require(d Decision, action string, res Resource) error {
	if err := refused(action, res, d); err != nil {
		v.Allowed, v.Rule, v.Failure = false, d.Rule, d.Failure
		return err
	}
	all, ok := v.Obligations.And(relevant(res.Type, action, d.Obligations))
	if !ok {
		v.Allowed, v.Rule, v.Failure = false, d.Rule, errConflict
		return conflict()
	}
	v.Obligations = all
	return nil
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
	if o.Model == "" && o.MaxTokens == 0 && !o.Redact || m.Type == typeModel && slices.Contains(fulfilling(), m.Action) {
		return nil
	}
	return apierr.New(apierr.PermissionDenied, "the policy allows this only with obligations that cannot be fulfilled here: ask for chat, completions, embeddings or rerank instead")
}

func referenceOf(model string) string {
	_, reference, _ := strings.Cut(model, "@")
	return reference
}

// aboutOf returns what a request says of itself.
func aboutOf(req any) About {
	var out About
	switch r := req.(type) {
	case interface{ GetModel() string }:
		out.Reference = referenceOf(r.GetModel())
	case interface{ GetModelName() string }:
		out.Reference = referenceOf(r.GetModelName())
	}
	out.RequestedTokens = RequestedTokens(req)
	return out
}

// RequestedTokens returns the most tokens that a request lets be generated, over all
// its answers: engines differ in which of several bounds they heed, so the largest
// counts. It is 0 when the request gives none.
func RequestedTokens(req any) int64 {
	var most int64
	if r, ok := req.(interface{ GetMaxTokens() int32 }); ok {
		most = int64(r.GetMaxTokens())
	}
	if r, ok := req.(interface{ GetMaxCompletionTokens() int32 }); ok {
		most = max(most, int64(r.GetMaxCompletionTokens()))
	}
	answers := int64(1)
	if r, ok := req.(interface{ GetN() int32 }); ok {
		answers = max(answers, int64(r.GetN()))
	}
	if r, ok := req.(interface{ GetExtra() map[string]string }); ok {
		for _, name := range TokenMembers() {
			if text, given := r.GetExtra()[name]; given {
				most = max(most, wholeNumber(text))
			}
		}
		if text, given := r.GetExtra()[memberBestOf]; given {
			answers = max(answers, min(wholeNumber(text), mostAnswers))
		}
	}
	return most * answers
}

// memberBestOf is how a completion asks for more answers than it returns, and
// mostAnswers bounds what is believed of it.
const (
	memberBestOf = "best_of"
	mostAnswers  = 128
)

// TokenMembers returns the members of a request, besides those in its contract,
// by which engines are told how much to generate.
func TokenMembers() []string {
	return []string{"max_tokens", "max_completion_tokens", "n_predict", "max_new_tokens", "max_length"}
}

// wholeNumber reads a member; what is no number asks for as much as there is.
func wholeNumber(text string) int64 {
	if text == "null" {
		return 0
	}
	var n json.Number
	if err := json.Unmarshal([]byte(text), &n); err != nil {
		return unbounded
	}
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return i
	}
	return unbounded
}

// unbounded is more tokens than any engine generates.
const unbounded = 1 << 40
