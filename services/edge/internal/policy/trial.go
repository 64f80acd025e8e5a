package policy

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

// maxDifferences bounds what is remembered of one tenant's dry run.
const maxDifferences = 100

// Difference is a request that a version which is tried would have decided in
// another way.
type Difference struct {
	Time      time.Time
	RequestID string
	authz.Observation
}

// Trial gathers, on one replica, what versions that are tried would have decided
// in another way. It is safe for concurrent use.
type Trial struct {
	platform string
	clock    clock.Clock
	count    func(ctx context.Context, change string)

	mu      sync.Mutex
	percent int
	runs    map[string]*run
}

type run struct {
	version           int64
	judged, different int64
	last              []Difference // oldest first
}

// NewTrial returns an empty one. count is told of each difference: would_allow,
// would_deny or obligations.
func NewTrial(platform string, c clock.Clock, count func(ctx context.Context, change string)) *Trial {
	return &Trial{platform: platform, clock: c, count: count, runs: make(map[string]*run)}
}

// follow begins and ends runs.
func (t *Trial) follow(states map[string]State) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.percent = 0
	runs := make(map[string]*run)
	for tenant, st := range states {
		if st.DryRun == 0 {
			continue
		}
		t.percent = max(t.percent, int(st.Percent))
		r := t.runs[tenant]
		if r == nil || r.version != st.DryRun {
			r = &run{version: st.DryRun}
		}
		runs[tenant] = r
	}
	t.runs = runs
}

// sample reports whether to judge a request.
func (t *Trial) sample() bool {
	t.mu.Lock()
	percent := t.percent
	t.mu.Unlock()
	return percent >= 100 || rand.IntN(100) < percent //nolint:gosec // nobody gains by guessing
}

// observe notes how a request was judged. It counts for its tenant's run, and for
// the platform's.
func (t *Trial) observe(ctx context.Context, o authz.Observation) {
	now, id := t.clock.Now(), requestid.FromContext(ctx)
	t.mu.Lock()
	for _, tenant := range slices.Compact([]string{t.platform, o.Caller.Tenant}) {
		r := t.runs[tenant]
		if r == nil {
			continue
		}
		r.judged++
		if !o.Different {
			continue
		}
		r.different++
		if len(r.last) >= maxDifferences {
			r.last = slices.Delete(r.last, 0, 1)
		}
		r.last = append(r.last, Difference{Time: now, RequestID: id, Observation: o})
	}
	t.mu.Unlock()
	if o.Different {
		t.count(ctx, change(o))
	}
}

func change(o authz.Observation) string {
	switch {
	case o.New.Allowed && !o.Current.Allowed:
		return "would_allow"
	case !o.New.Allowed && o.Current.Allowed:
		return "would_deny"
	default:
		return "obligations"
	}
}

// Status is how a tenant's dry run goes on this replica.
type Status struct {
	Version           int64
	Judged, Different int64
	Differences       []Difference // newest first
}

// Status returns how a tenant's dry run goes; the zero value when there is none.
func (t *Trial) Status(tenant string) Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.runs[tenant]
	if r == nil {
		return Status{}
	}
	last := slices.Clone(r.last)
	slices.Reverse(last)
	return Status{Version: r.version, Judged: r.judged, Different: r.different, Differences: last}
}

// tenants returns those for which a version is tried.
func (t *Trial) tenants() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(maps.Keys(t.runs))
}
