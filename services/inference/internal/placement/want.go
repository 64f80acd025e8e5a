package placement

import (
	"strings"
	"time"

	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// picture is what shall be, at one look.
type picture struct {
	wants    []Want
	policies map[string]Policy // by digest
	status   map[string]Status
	loads    digestLoads
}

// want computes how many workers should have each version that serves. One that
// several models have follows the policy of the first of them by name.
func (c *Controller) want(now time.Time, snapshot *catalog.Snapshot, view *fleet.View) picture {
	p := picture{policies: make(map[string]Policy), status: make(map[string]Status), loads: loads(view.Workers)}
	if snapshot == nil {
		return p
	}
	serving, of := make(map[string]bool), make(map[string]load)
	for _, v := range snapshot.Serving() {
		policy := c.opts.Policies.Of(v.Model, labelsOf(snapshot, v.Model))
		p.policies[v.Digest], of[v.Digest] = policy, p.loads.of(policy.allowed(v))
	}
	asked := c.asking.take(now, func(key string) bool {
		if digest, ok := strings.CutPrefix(key, exactly); ok {
			return p.loads[digest].copies > 0
		}
		return of[key].copies > 0
	})
	for _, v := range snapshot.Serving() {
		serving[v.Digest] = true
		policy := p.policies[v.Digest]
		t := c.trends[v.Digest]
		if t == nil {
			t = &trend{}
			c.trends[v.Digest] = t
		}
		l := of[v.Digest]
		n := t.desired(now, l, asked[v.Digest], policy, c.opts.TargetUtilization)
		p.status[v.Digest] = Status{Desired: n, Min: policy.Min, Max: policy.Max, Problem: policy.Problem}
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
		p.exactly(v, asked, policy)
	}
	forget(c.trends, serving)
	return p
}

// exactly adds what was asked for by the digest of a variant.
func (p *picture) exactly(v *catalog.Version, asked map[string]bool, policy Policy) {
	if len(v.Variants) < 2 {
		return
	}
	for _, one := range v.Variants {
		if asked[exact(one.Digest)] {
			p.wants = append(p.wants, Want{
				Version: v, Variants: []*catalog.Variant{one}, Replicas: 1, Evict: true, WarmUp: policy.WarmUp, exact: true,
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
