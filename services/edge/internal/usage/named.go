package usage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// counted refuses a budget of a key that its tenant does not have, and returns why one
// may count nobody's use: of tenants and groups only those are known that keys have, and
// tokens may have others.
func (s *Server) counted(ctx context.Context, c identity.Caller, b budget.Budget) (warnings []string, err error) {
	switch b.Scope {
	case budget.Key:
		return s.keyOf(ctx, c, b)
	case budget.Team:
		return s.holders(ctx, b, fmt.Sprintf("no API key of the tenant %q is in the group %q now: unless tokens are, the budget counts nobody's use", b.Tenant, b.Name),
			func(r apikey.Record) bool { return slices.Contains(r.Access().Groups, b.Name) })
	case budget.Tenant:
		return s.holders(ctx, b, fmt.Sprintf("the tenant %q has no API key now: unless tokens are of it, the budget counts nobody's use", b.Tenant),
			func(apikey.Record) bool { return true })
	}
	return nil, nil
}

// keyOf refuses a budget of a key that the tenant does not have. Whether another tenant
// does is told only to who may see that tenant's keys.
func (s *Server) keyOf(ctx context.Context, c identity.Caller, b budget.Budget) (warnings []string, err error) {
	rec, err := s.keys.Get(ctx, b.Name)
	if err != nil && !errors.Is(err, apikey.ErrNotFound) {
		return nil, keysAway(err)
	}
	if err != nil || rec.Tenant != b.Tenant {
		elsewhere := ""
		if err == nil && s.sees(ctx, c, rec) {
			elsewhere = fmt.Sprintf("; it is one of the tenant %q", rec.Tenant)
		}
		return nil, apierr.Invalid("budget.scope_name", "the tenant %q has no API key with the id %q%s", b.Tenant, b.Name, elsewhere)
	}
	if why := rec.Ended(s.usage.now()); why != "" {
		warnings = append(warnings, fmt.Sprintf("the API key %s %s: the budget counts nobody's use", rec.ID, why))
	}
	return warnings, nil
}

// sees reports whether the caller may look at a key: by the policy, and by what the
// credentials that were shown are for.
func (s *Server) sees(ctx context.Context, c identity.Caller, r apikey.Record) bool {
	p, ok := authn.FromContext(ctx)
	return ok && p.Grant.Action("api-key", "get") && s.authz.Allowed(ctx, c, "get", authz.Resource{Type: "api-key", ID: r.ID, Tenant: r.Tenant})
}

// holders returns the warning unless a key of the budget's tenant that holds is one of
// those that are meant.
func (s *Server) holders(ctx context.Context, b budget.Budget, warning string, meant func(apikey.Record) bool) ([]string, error) {
	held, err := apikey.Held(ctx, s.keys, b.Tenant, s.usage.now(), meant)
	switch {
	case err != nil:
		return nil, keysAway(err)
	case held:
		return nil, nil
	}
	return []string{warning}, nil
}

func keysAway(err error) error {
	return apierr.Wrap(apierr.Unavailable, err, "the store of API keys does not answer").WithRetryAfter(retryAfter)
}

func (s *Server) known(reference string) bool {
	_, known := s.task(reference)
	return known
}

// free returns what of a model's requests costs nothing by a price that is of something:
// a price stands for itself, and takes nothing from the one before it.
func (s *Server) free(p price.Price) []string {
	r := p.Rates
	if p.Removed || p.Target.Digest != "" || r == (price.Rates{}) || r.Request != 0 {
		return nil
	}
	var missing []string
	task, _ := s.task(p.Target.Reference())
	switch task { //nolint:exhaustive // of the others nothing is known
	case commonv1.Task_TASK_CHAT:
		if r.Input == 0 {
			missing = append(missing, "input")
		}
		if r.Output == 0 {
			missing = append(missing, "output")
		}
	case commonv1.Task_TASK_EMBEDDING:
		if r.Embedding == 0 {
			missing = append(missing, "embedding")
		}
	case commonv1.Task_TASK_RERANK:
		if r.Rerank == 0 && r.Document == 0 {
			missing = append(missing, "rerank", "document")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("by this price, %s of %q cost nothing: what is not given is free, whatever the price before it says", strings.Join(missing, " and "), p.Target.Reference())}
}

// unknown returns why a price may be no request's.
func (s *Server) unknown(p price.Price) []string {
	t := p.Target
	switch {
	case p.Removed:
		return s.removesNothing(p)
	case t.Digest != "" || t.Model == price.Every || s.known(t.Reference()):
		return nil
	case t.Version > 0 && s.known(t.Model):
		return []string{fmt.Sprintf("the model %q has no version %d now: no request is billed by this price until it has, though budgets reserve as if one might be", t.Model, t.Version)}
	default:
		return []string{fmt.Sprintf("there is no model %q now: no request is billed by this price until there is", t.Model)}
	}
}

// removesNothing returns why removing a price changes nothing.
func (s *Server) removesNothing(p price.Price) []string {
	if s.usage.Meter.book.Load().Has(p.Target, p.ValidFrom.Add(-time.Microsecond)) {
		return nil
	}
	of := fmt.Sprintf("%q", p.Target.Reference())
	if p.Target.Variant != "" {
		of = fmt.Sprintf("the variant %q of %s", p.Target.Variant, of)
	}
	text := of + " has no price of its own before then: nothing is removed"
	if t := p.Target; t.Digest == "" && t.Model != price.Every && !s.known(t.Reference()) {
		text += fmt.Sprintf(", and there is no model or version %q now", t.Reference())
	}
	return []string{text}
}
