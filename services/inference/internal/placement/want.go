package placement

import (
	"strings"
	"time"

	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// served is a version that a model serves: several models may have the very same
// one, each with variants and a policy of its own, and share its copies.
type served struct{ model, digest string }

func servedOf(v *catalog.Version) served { return served{v.Model, v.Digest} }

// picture is what shall be, at one look.
type picture struct {
	wants    []Want
	policies map[served]Policy
	status   map[served]Status
	loads    digestLoads
}

// want computes how many workers should have each version that serves.
func (c *Controller) want(now time.Time, snapshot *catalog.Snapshot, view *fleet.View) picture {
	p := picture{policies: make(map[served]Policy), status: make(map[served]Status), loads: loads(view.Workers)}
	if snapshot == nil {
		return p
	}
	// What is asked for is there for all that have it.
	held := make(map[string]bool)
	for _, v := range snapshot.Serving() {
		policy := c.opts.Policies.Of(v.Model, labelsOf(snapshot, v.Model))
		p.policies[servedOf(v)] = policy
		had, known := held[v.Digest]
		held[v.Digest] = (had || !known) && p.loads.of(policy.allowed(v)).copies > 0
	}
	asked := c.asking.take(now, func(key string) bool {
		if digest, ok := strings.CutPrefix(key, exactly); ok {
			return p.loads[digest].copies > 0
		}
		return held[key]
	})
	serving := make(map[served]bool)
	for _, v := range snapshot.Serving() {
		key := servedOf(v)
		serving[key] = true
		policy := p.policies[key]
		t := c.trends[key]
		if t == nil {
			t = &trend{}
			c.trends[key] = t
		}
		l := p.loads.of(policy.allowed(v))
		n := t.desired(now, l, asked[v.Digest], policy, c.opts.TargetUtilization)
		p.status[key] = Status{Desired: n, Min: policy.Min, Max: policy.Max}
		pinned := policy.Guaranteed
		if policy.Pinned {
			pinned = policy.Max
		}
		want := Want{
			Version: v, Variants: policy.allowed(v), Fallback: policy.Fallback, Improve: policy.Min > 0,
			Replicas: n, WarmUp: policy.WarmUp, Pinned: pinned,
		}
		// Others are driven out for what somebody waits for, or was promised, and
		// for no copy more.
		if l.copies == 0 && asked[v.Digest] || l.copies < policy.Guaranteed {
			want.Evict, want.Replicas = true, min(n, max(1, policy.Guaranteed))
		}
		p.wants = append(p.wants, want)
		p.exactly(v, asked, policy, l.copies == 0)
	}
	forget(c.trends, serving)
	return p
}

// exactly adds what was asked for by the digest of a variant. Others are driven
// out for it only where the version is not served at all: who asks for one form
// must not take away what serves everybody.
func (p *picture) exactly(v *catalog.Version, asked map[string]bool, policy Policy, evict bool) {
	if len(v.Variants) < 2 {
		return
	}
	for _, one := range v.Variants {
		if asked[exact(one.Digest)] {
			p.wants = append(p.wants, Want{
				Version: v, Variants: []*catalog.Variant{one}, Replicas: 1, Evict: evict, WarmUp: policy.WarmUp, exact: true,
			})
		}
	}
}

func labelsOf(s *catalog.Snapshot, model string) map[string]string {
	m, ok := s.Model(model)
	if !ok {
		return nil
	}
	return m.State.GetModel().GetLabels()
}
