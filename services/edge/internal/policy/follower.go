package policy

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/authz"
)

const (
	storeTimeout  = 5 * time.Second
	changesAtOnce = 64
)

// Source is what the follower reads of a store.
type Source interface {
	Revision(ctx context.Context) (int64, error)
	Changes(ctx context.Context, after int64, limit int) ([]Change, error)
}

// Target is what decides by the policies: package authz's Authorizer.
type Target interface {
	Snapshot(l authz.Layers) (*authz.Snapshot, error)
	Use(s *authz.Snapshot)
	Watch(next *authz.Snapshot, sample func() bool, observe func(ctx context.Context, o authz.Observation))
}

// Follower keeps a replica's decisions at what the store has in force. One small
// read at every poll tells whether anything changed. While the store is away, and
// where a document cannot be loaded, what was in force goes on. It is safe for
// concurrent use.
type Follower struct {
	space    Space
	source   Source
	target   Target
	clock    clock.Clock
	interval time.Duration
	log      *slog.Logger
	tried    *Trial

	mu       sync.Mutex
	revision int64
	states   map[string]State
	docs     map[string]compiled // in force
	dryRuns  map[string]compiled
	problems map[string]string

	report func(problems map[string]string)
}

// FollowerDeps is what a Follower works with; all of it is needed but Report.
type FollowerDeps struct {
	Space    Space
	Source   Source
	Target   Target
	Clock    clock.Clock
	Interval time.Duration
	Log      *slog.Logger
	Trial    *Trial
	// Report is told, after each change, for which tenants what is in force could
	// not be loaded, and why.
	Report func(problems map[string]string)
}

// NewFollower loads what is in force.
func NewFollower(ctx context.Context, d FollowerDeps) (*Follower, error) {
	f := &Follower{
		space: d.Space, source: d.Source, target: d.Target, clock: d.Clock, interval: d.Interval, log: d.Log, tried: d.Trial, report: d.Report,
		states: make(map[string]State), docs: make(map[string]compiled), dryRuns: make(map[string]compiled), problems: make(map[string]string),
	}
	if f.report == nil {
		f.report = func(map[string]string) {}
	}
	if err := f.Follow(ctx); err != nil {
		return nil, err
	}
	if why := f.problems[d.Space.Platform]; why != "" {
		// There is nothing to go on with, and without its denies more would be allowed.
		return nil, fmt.Errorf("policy: the platform's policy cannot be loaded: %s", why)
	}
	return f, nil
}

// Follow brings decisions to what the store has in force now.
func (f *Follower) Follow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	latest, err := f.source.Revision(ctx)
	if err != nil {
		return err
	}
	if latest == f.revision {
		return nil
	}
	from := f.revision
	if latest < from { // the store is another one, or was put back
		from = 0
	}
	var changes []Change
	for at := from; ; {
		page, err := f.source.Changes(ctx, at, changesAtOnce)
		if err != nil {
			return err
		}
		changes = append(changes, page...)
		if len(page) < changesAtOnce {
			break
		}
		at = page[len(page)-1].Revision
	}
	return f.apply(changes, from, latest)
}

// apply compiles what changed and puts all of it into force at once.
func (f *Follower) apply(changes []Change, from, latest int64) error {
	states, docs, dryRuns, problems := maps.Clone(f.states), maps.Clone(f.docs), maps.Clone(f.dryRuns), maps.Clone(f.problems)
	if from == 0 {
		clear(states)
		clear(dryRuns)
		gone := maps.Clone(docs)
		for _, c := range changes {
			delete(gone, c.Tenant)
		}
		for tenant := range gone {
			delete(docs, tenant)
			delete(problems, tenant)
		}
	}
	for _, c := range changes {
		latest = max(latest, c.Revision)
		before := states[c.Tenant]
		states[c.Tenant] = c.State
		if from == 0 || c.ETag != before.ETag {
			f.load(c, docs, problems)
		}
		delete(dryRuns, c.Tenant)
		if c.DryRun != 0 {
			if d, err := f.compile(c.Tenant, c.DryRun, c.DryRunText); err == nil {
				dryRuns[c.Tenant] = d
			}
		}
	}
	snapshot, err := f.target.Snapshot(f.space.layers(docs))
	if err != nil {
		return err
	}
	next, err := f.candidate(docs, dryRuns)
	if err != nil {
		return err
	}
	f.states, f.docs, f.dryRuns, f.problems, f.revision = states, docs, dryRuns, problems, latest
	f.target.Use(snapshot)
	f.tried.follow(states)
	f.target.Watch(next, f.tried.sample, f.tried.observe)
	f.report(maps.Clone(problems))
	return nil
}

// candidate is what is in force with what is tried in its place; nil when nothing
// is.
func (f *Follower) candidate(docs, dryRuns map[string]compiled) (*authz.Snapshot, error) {
	if len(dryRuns) == 0 {
		return nil, nil //nolint:nilnil // nothing is tried
	}
	all := maps.Clone(docs)
	maps.Copy(all, dryRuns)
	return f.target.Snapshot(f.space.layers(all))
}

// load compiles what a tenant has in force. Where that fails, what was in force
// before goes on; where there was nothing, a tenant's own requests are denied.
func (f *Follower) load(c Change, docs map[string]compiled, problems map[string]string) {
	delete(problems, c.Tenant)
	if c.Version == 0 {
		delete(docs, c.Tenant)
		return
	}
	d, err := f.compile(c.Tenant, c.Version, c.Text)
	if err == nil {
		docs[c.Tenant] = d
		return
	}
	problems[c.Tenant] = fmt.Sprintf("version %d cannot be loaded: %v", c.Version, err)
	f.log.Error("a policy cannot be loaded; what was in force goes on", slog.String("tenant", c.Tenant), slog.Int64("version", c.Version), telemetry.Err(err))
	if _, ok := docs[c.Tenant]; !ok && c.Tenant != f.space.Platform {
		if d, err := f.space.denyAll(c.Tenant, Name(c.Tenant, c.Version)); err == nil {
			docs[c.Tenant] = d
		}
	}
}

func (f *Follower) compile(tenant string, version int64, text string) (compiled, error) {
	doc, err := decode(text)
	if err != nil {
		return compiled{}, err
	}
	return f.space.compile(tenant, Name(tenant, version), doc)
}

// Draft returns a snapshot of what is in force with doc in the place of the
// tenant's policy; a nil doc is none.
func (f *Follower) Draft(tenant, name string, doc *Document) (*authz.Snapshot, error) {
	f.mu.Lock()
	docs := maps.Clone(f.docs)
	f.mu.Unlock()
	delete(docs, tenant)
	if doc != nil {
		d, err := f.space.compile(tenant, name, doc)
		if err != nil {
			return nil, err
		}
		docs[tenant] = d
	}
	return f.target.Snapshot(f.space.layers(docs))
}

// Problem says why what a tenant has in force could not be loaded; empty when it
// was.
func (f *Follower) Problem(tenant string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problems[tenant]
}

// Component returns the part that follows the store's changes.
func (f *Follower) Component() lifecycle.Component {
	return lifecycle.Component{Name: "policies", Run: func(ctx context.Context) error {
		away := false
		return lifecycle.Every(ctx, f.clock, f.interval, nil, func(ctx context.Context) error {
			err := f.Follow(ctx)
			if err != nil && ctx.Err() == nil && !away { // once: it is asked several times a second
				f.log.ErrorContext(ctx, "the store of policies is away; what was in force goes on", telemetry.Err(err))
			} else if away && err == nil {
				f.log.InfoContext(ctx, "the store of policies is back")
			}
			away = err != nil
			return nil
		})
	}}
}
