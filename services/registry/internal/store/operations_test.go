package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

const (
	approvalTime = time.Hour
	// operationsVariable makes the test of random operations as long as it says,
	// such as 100000; a short one otherwise.
	operationsVariable = "POTERNE_RANDOM_OPERATIONS"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// operations makes random changes of a store and of the reference.
type operations struct {
	*env
	rnd      *rand.Rand
	ref      *reference
	outcomes map[string]int
}

// Whatever is done, in whatever order: the store refuses what the reference
// refuses, for the same reason, uses up a revision when that changes, and holds
// the same.
func (s suite) randomOperations(t *testing.T) {
	steps := 300
	if text := os.Getenv(operationsVariable); text != "" {
		n, err := strconv.Atoi(text)
		check(t, err)
		steps = n
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	o := &operations{
		env: newEnv(t, s.databases, store.Options{ProtectedAliases: []string{"stable"}, ApprovalTime: approvalTime, KeepChanges: 100}),
		rnd: rand.New(rand.NewPCG(seed, 0)), outcomes: make(map[string]int),
		ref: &reference{now: start, models: make(map[string]*refModel), histories: make(map[string][]refState)},
	}
	for i := range steps {
		name, want, got := o.step(t.Context())
		if reason := apierr.ReasonOf(got); reason != want {
			t.Fatalf("step %d, %s: %v, the reference says %q", i, name, got, want)
		}
		if r := o.Store; o.rnd.IntN(10) == 0 {
			at, err := r.Revision(t.Context())
			check(t, err)
			if at != o.ref.revision {
				t.Fatalf("step %d, %s: revision %d, the reference is at %d", i, name, at, o.ref.revision)
			}
		}
		o.outcomes[name+" "+string(want)]++
		if i%50 == 49 || i == steps-1 {
			for _, model := range modelNames() {
				o.compare(i, model)
			}
		}
	}
	for _, name := range []string{"approve ", "rollback ", "approve CONFLICT", "split ", "alias CONFLICT", "approve PERMISSION_DENIED"} {
		if steps > 3000 && o.outcomes[name] == 0 {
			t.Errorf("%q never happened", name)
		}
	}
	t.Logf("%d operations, outcomes: %v", steps, o.outcomes)
}

func modelNames() []string { return []string{"m0", "m1"} }

func pick[T any](o *operations, from ...T) T { return from[o.rnd.IntN(len(from))] }

// step makes one operation on both.
func (o *operations) step(ctx context.Context) (name string, want apierr.Reason, got error) {
	model, alias, actor := pick(o, modelNames()...), pick(o, "stable", "stable", "a", "b"), pick(o, "ada", "bob", "eve")
	m := o.ref.models[model]
	if m == nil {
		m = &refModel{}
	}
	if o.rnd.IntN(8) == 0 {
		d := time.Duration(o.rnd.IntN(20)) * time.Minute
		o.clock.Advance(d)
		o.ref.now = o.ref.now.Add(d)
	}
	given := pick(o, store.AnyEtag, etag(m.aliases[alias].revision), etag(m.aliases[alias].revision), "r1", "")
	revision := max(1, o.ref.revision-int64(o.rnd.IntN(60))+2)
	switch n := o.rnd.IntN(100); {
	case n < 5:
		_, err := o.CreateModel(ctx, actor, &registryv1.Model{Name: model})
		return "create", o.ref.createModel(model), err
	case n < 10:
		return "delete", o.ref.deleteModel(model), o.PurgeModel(ctx, actor, model)
	case n < 20:
		seed := o.rnd.IntN(6)
		_, err := o.CreateVersion(ctx, actor, storetest.Version(o.t, model, seed))
		return "version", o.ref.createVersion(model, seed), err
	case n < 50:
		version := int32(max(0, o.rnd.IntN(8)-1))
		_, _, err := o.ChangeAlias(ctx, actor, store.AliasWish{Model: model, Alias: alias, Version: version, Etag: given})
		return "alias", o.ref.changeAlias(actor, model, alias, given, version), err
	case n < 65:
		id := o.someChange(m)
		if o.rnd.IntN(5) == 0 {
			_, err := o.RejectAliasChange(ctx, actor, store.Decision{Model: model, Change: "c" + itoa(id)})
			return "reject", o.ref.reject(model, id), err
		}
		_, err := o.ApproveAliasChange(ctx, actor, store.Decision{Model: model, Change: "c" + itoa(id)})
		return "approve", o.ref.approve(actor, model, id), err
	case n < 75:
		_, _, err := o.RollbackAlias(ctx, actor, model, alias, store.Rollback{Revision: revision, Etag: store.AnyEtag})
		return "rollback", o.ref.rollbackAlias(actor, model, alias, revision), err
	case n < 82:
		sp, err := o.RollbackSplit(ctx, actor, model, store.Rollback{Revision: revision, Etag: store.AnyEtag})
		want := o.ref.rollbackSplit(model, revision)
		o.learnSalt(model, sp)
		return "split rollback", want, err
	default:
		given := pick(o, store.AnyEtag, etag(m.split.revision), etag(m.split.revision), "r1", "")
		if o.rnd.IntN(5) == 0 {
			return "unsplit", o.ref.setSplit(model, given, nil), o.DeleteSplit(ctx, actor, model, given)
		}
		weight := int32(o.rnd.IntN(3)) * 100_000
		arms := []*registryv1.Arm{arm("x", int32(o.rnd.IntN(4)+1), weight), arm("y", int32(o.rnd.IntN(4)+1), store.WholeSplit-weight)}
		sp, err := o.SetSplit(ctx, actor, model, arms, given)
		want := o.ref.setSplit(model, given, arms)
		if err == nil {
			o.learnSalt(model, sp)
		}
		return "split", want, err
	}
}

// someChange is the id of a change, mostly of one of the last.
func (o *operations) someChange(m *refModel) int64 {
	if len(m.changes) == 0 || o.rnd.IntN(10) == 0 {
		return int64(o.rnd.IntN(100) + 1)
	}
	return m.changes[len(m.changes)-1-o.rnd.IntN(min(3, len(m.changes)))].id
}

// learnSalt gives the reference the salt of a split that was just made.
func (o *operations) learnSalt(model string, sp *registryv1.Split) {
	m := o.ref.models[model]
	if sp == nil || m == nil || m.split.salt != "" {
		return
	}
	m.split.salt = sp.GetSalt()
	states := o.ref.histories[model+"/"]
	states[len(states)-1].split.salt = sp.GetSalt()
}

// compare compares all that the store says of a model with the reference.
func (o *operations) compare(step int, model string) {
	o.t.Helper()
	ctx := o.t.Context()
	got, want := o.described(ctx, model), o.expected(model)
	if !slices.Equal(got, want) {
		o.t.Fatalf("step %d, %s holds\n%q, the reference\n%q", step, model, got, want)
	}
	const last = 100
	for _, alias := range []string{"stable", "a", "b"} {
		states, err := o.AliasHistory(ctx, model, alias, 0, last)
		check(o.t, err)
		ref := o.ref.histories[model+"/"+alias]
		for i, st := range states {
			if w := ref[len(ref)-1-i]; st.GetRevision() != w.revision || st.GetVersion() != w.version {
				o.t.Fatalf("step %d: %v, the reference has %+v", step, st, w)
			}
		}
		if len(states) != min(last, len(ref)) {
			o.t.Fatalf("step %d: %s/%s has %d states, the reference %d", step, model, alias, len(states), len(ref))
		}
	}
	states, err := o.SplitHistory(ctx, model, 0, last)
	check(o.t, err)
	ref := o.ref.histories[model+"/"]
	for i, st := range states {
		w := ref[len(ref)-1-i]
		if st.GetRevision() != w.revision || st.GetSalt() != w.split.salt || !slices.EqualFunc(st.GetArms(), w.split.arms, sameArms) {
			o.t.Fatalf("step %d: %v, the reference has %+v", step, st, w)
		}
	}
}

// described and expected are a model in lines, of the store and of the reference.
func (o *operations) described(ctx context.Context, model string) []string {
	var out []string
	if _, err := o.GetModel(ctx, model); err != nil {
		return nil
	}
	st := o.state(model)
	for _, a := range st.GetAliases() {
		out = append(out, fmt.Sprint(a.GetName(), a.GetVersion(), a.GetEtag()))
	}
	for _, a := range st.GetSplit().GetArms() {
		out = append(out, fmt.Sprint(a.GetName(), a.GetVersion(), a.GetWeight(), st.GetSplit().GetEtag(), st.GetSplit().GetSalt()))
	}
	out = append(out, fmt.Sprint(len(st.GetVersions())))
	changes, err := o.ListAliasChanges(ctx, model, store.ChangeFilter{}, "", 100)
	check(o.t, err)
	for _, c := range changes {
		out = append(out, fmt.Sprint(c.GetId(), c.GetAlias(), c.GetFromEtag(), c.GetToVersion(), c.GetRequestedBy(), c.GetState()))
	}
	return out
}

func (o *operations) expected(model string) []string {
	m := o.ref.models[model]
	if m == nil {
		return nil
	}
	var out []string
	for _, name := range []string{"a", "b", "stable"} {
		if a, ok := m.aliases[name]; ok {
			out = append(out, fmt.Sprint(name, a.version, etag(a.revision)))
		}
	}
	for _, a := range m.split.arms {
		out = append(out, fmt.Sprint(a.GetName(), a.GetVersion(), a.GetWeight(), etag(m.split.revision), m.split.salt))
	}
	out = append(out, fmt.Sprint(len(m.seeds)))
	for i, c := range slices.Backward(m.changes) {
		if len(m.changes)-i > 100 {
			break
		}
		out = append(out, fmt.Sprint("c"+itoa(c.id), c.alias, c.from, c.to, c.asker, c.standing(o.ref.now)))
	}
	return out
}
