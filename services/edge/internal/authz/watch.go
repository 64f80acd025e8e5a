package authz

import (
	"context"
	"reflect"
	"slices"
)

// watcher has a candidate evaluated beside what is in force.
type watcher struct {
	observe func(ctx context.Context, o Observation)
	sample  func() bool
	next    *Snapshot
}

// Observation is a request that a candidate decides in another way than the
// policies in force.
type Observation struct {
	Caller       struct{ Tenant, Subject string }
	Action       string
	Resource     Resource
	Current, New Decision
	// Different says whether they differ at all; each observation counts.
	Different bool
}

// Watch has next judge a share of the requests beside what is in force, without
// any influence; sample says which. A nil next ends it.
func (a *Authorizer) Watch(next *Snapshot, sample func() bool, observe func(ctx context.Context, o Observation)) {
	if next == nil {
		a.watcher.Store(nil)
		return
	}
	a.watcher.Store(&watcher{next: next, sample: sample, observe: observe})
}

// watch judges a request by the candidate too. What goes wrong stays here.
func (a *Authorizer) watch(ctx context.Context, r ask, current Decision) {
	w := a.watcher.Load()
	if w == nil || !w.sample() {
		return
	}
	r.find, r.models = func() Facts { return a.facts(ctx) }, a.ModelsFor(r.caller.Tenant)
	o := Observation{Action: r.action, Resource: r.res, Current: current, New: w.next.decide(r)}
	o.Caller.Tenant, o.Caller.Subject = r.caller.Tenant, r.caller.Subject
	o.Different = o.New.Allowed != current.Allowed || o.New.Obligations != current.Obligations ||
		!reflect.DeepEqual(o.New.Classes, current.Classes) || !slices.EqualFunc(o.New.Versions, current.Versions, sameVerdict)
	w.observe(ctx, o)
}

func sameVerdict(a, b VersionVerdict) bool { return a.same(b.ModelVersion) && a.Allowed == b.Allowed }
