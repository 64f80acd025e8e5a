package limitrule

import (
	"context"
	"slices"

	"github.com/poterne/poterne/services/edge/internal/limit"
)

// State is what a limit has left for a caller.
type State struct {
	// Name is the rule's, and Tenant whose it is; empty: the platform's.
	Name, Tenant string
	Kind         Kind
	By           []Dimension
	limit.Decision
}

// Status returns what every limit that is about a request of f has left. Those that
// tenants share are told to the platform only, which all says.
func (e *Engine) Status(ctx context.Context, f *Facts, all bool) ([]State, error) {
	states := []State{{Name: limit.PolicyDefault, Kind: Requests, By: []Dimension{ByKey}}}
	rates, owners := []limit.Ask{{Bucket: keyBucket(f), Limit: limit.PerMinute(f.PerMinute)}}, []int{0}
	var slots []limit.Ask
	var slotOwners []int
	for _, r := range e.rules.Load().of(f, nil) {
		if !all && !r.own() {
			continue
		}
		ask := limit.Ask{Bucket: r.bucket(f), Limit: r.limit, Away: r.Away.mode()}
		if r.Kind == Concurrent {
			slots, slotOwners = append(slots, ask), append(slotOwners, len(states))
		} else {
			rates, owners = append(rates, ask), append(owners, len(states))
		}
		states = append(states, State{Name: r.Name, Tenant: r.Tenant, Kind: r.Kind, By: r.By})
	}
	out := make([]limit.Decision, len(states))
	if err := e.buckets.Look(ctx, rates, out); err != nil {
		return nil, err
	}
	for i, at := range owners {
		states[at].Decision = out[i]
	}
	if err := e.slots.Look(ctx, slots, out); err != nil {
		return nil, err
	}
	for i, at := range slotOwners {
		states[at].Decision = out[i]
	}
	return states, nil
}

// Miss is why a limit is not about a request.
type Miss struct {
	// Name is the rule's, and Tenant whose it is; empty: the platform's.
	Name, Tenant string
	// Reason is for people.
	Reason string
}

// Misses returns the limits in force that are not about a request of f, and why. Which of
// the platform's are about other tenants, and whom in them, is told to the platform only,
// which all says: a tenant is told of those that another model or method would meet.
func (e *Engine) Misses(f *Facts, all bool) []Miss {
	rules := e.rules.Load()
	var out []Miss
	for _, r := range slices.Concat(rules.platform, rules.tenants[f.Tenant]) {
		reason, personal := r.miss(f)
		if reason != "" && (all || r.Tenant != "" || r.own() && !personal) {
			out = append(out, Miss{Name: r.Name, Tenant: r.Tenant, Reason: reason})
		}
	}
	return out
}
