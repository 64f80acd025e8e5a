package limitserver

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/apikey"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

// Keys is where API keys are looked up.
type Keys interface {
	apikey.Lister
	// Get returns a key; apikey.ErrNotFound when there is none.
	Get(ctx context.Context, id string) (apikey.Record, error)
}

// warnings is why a limit may be about nobody's requests. A tenant may be known by tokens
// alone, and a model may be made later, so none of it is refused. Users are not known here:
// an identity provider has them, and callers name others as they like. Patterns for tenants
// and keys are not looked for. Nobody is told of another tenant's keys or models.
func (s *Server) warnings(ctx context.Context, caller, tenant string, r *limitrule.Rule) ([]string, error) {
	var out []string
	tenants := r.Match.Tenants
	if tenant != caller {
		tenants = append([]string{tenant}, tenants...)
	}
	for _, t := range tenants {
		if pattern(t) {
			continue
		}
		held, err := apikey.Held(ctx, s.Keys, t, s.Clock.Now(), func(apikey.Record) bool { return true })
		if err != nil {
			return nil, keysAway(err)
		}
		if !held {
			out = append(out, fmt.Sprintf("the tenant %q has no API key now: unless tokens are of it, the limit is about none of its requests", t))
		}
	}
	for _, id := range r.Match.Keys {
		if pattern(id) {
			continue
		}
		why, err := s.unheld(ctx, tenant, id)
		if err != nil {
			return nil, err
		}
		if why != "" {
			out = append(out, why+": the limit is about none of its requests")
		}
	}
	for _, m := range r.Match.Models {
		switch {
		case strings.Contains(m, "@"):
			out = append(out, fmt.Sprintf("limits go by models' names, without alias or version: the limit is about no request to %q", m))
		case pattern(m):
			if !s.AnyModel(tenant, func(name string) bool { return limitrule.Like(m, name) }) {
				out = append(out, fmt.Sprintf("there is no model of a name like %q now: the limit is about no request until there is", m))
			}
		case !s.Model(tenant, m):
			out = append(out, fmt.Sprintf("there is no model %q now: the limit is about no request to it until there is", m))
		}
	}
	return out, nil
}

// unheld is why nobody shows a key; empty when somebody may.
func (s *Server) unheld(ctx context.Context, tenant, id string) (string, error) {
	rec, err := s.Keys.Get(ctx, id)
	switch {
	case errors.Is(err, apikey.ErrNotFound), err == nil && s.owner(tenant) != "" && rec.Tenant != tenant:
		return fmt.Sprintf("there is no API key with the id %q", id), nil
	case err != nil:
		return "", keysAway(err)
	}
	if why := rec.Ended(s.Clock.Now()); why != "" {
		return "the API key " + id + " " + why, nil
	}
	return "", nil
}

func pattern(text string) bool { return strings.Contains(text, "*") }

func keysAway(err error) error {
	return apierr.Wrap(apierr.Unavailable, err, "the store of API keys does not answer").WithRetryAfter(storeRetry)
}
