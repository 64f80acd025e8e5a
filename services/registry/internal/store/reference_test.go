package store_test

import (
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// The reference says in plain Go what the store must do: maps and lists, one
// operation after the other. Each operation returns the reason of its refusal, or
// "" and whether it changed anything.

type refAlias struct {
	version  int32
	revision int64
}

type refSplit struct {
	arms     []*registryv1.Arm // none: there is no split
	salt     string
	revision int64
}

type refChange struct {
	id, rollback       int64
	alias, from, asker string
	to                 int32
	expires            time.Time
	state              registryv1.AliasChangeState
}

type refModel struct {
	seeds   []int // of its versions
	aliases map[string]refAlias
	split   refSplit
	changes []*refChange
}

// refState is a state that an alias or a split had.
type refState struct {
	revision int64
	seed     int // of the version; -1 when it was not there
	version  int32
	split    refSplit
	seeds    []int // of the split's versions
}

type reference struct {
	now       time.Time
	revision  int64
	models    map[string]*refModel
	histories map[string][]refState // by model/alias, and model/ for the split
}

func (r *reference) createModel(name string) apierr.Reason {
	if r.models[name] != nil {
		return apierr.AlreadyExists
	}
	r.models[name] = &refModel{aliases: make(map[string]refAlias)}
	r.revision++
	return ""
}

func (r *reference) deleteModel(name string) apierr.Reason {
	m := r.models[name]
	switch {
	case m == nil:
		return apierr.ModelNotFound
	case len(m.aliases) > 0 || len(m.split.arms) > 0:
		return apierr.FailedPrecondition
	}
	delete(r.models, name)
	r.revision++
	return ""
}

func (r *reference) createVersion(name string, seed int) apierr.Reason {
	m := r.models[name]
	if m == nil {
		return apierr.ModelNotFound
	}
	if !slices.Contains(m.seeds, seed) {
		m.seeds = append(m.seeds, seed)
		r.revision++
	}
	return ""
}

// etag is that of what has a revision.
func etag(revision int64) string {
	if revision == 0 {
		return ""
	}
	return "r" + itoa(revision)
}

func protectedName(alias string) bool { return alias == "stable" }

// changeAlias sets an alias, or removes it with version 0.
func (r *reference) changeAlias(actor, model, alias, given string, version int32) apierr.Reason {
	m := r.models[model]
	if m == nil {
		return apierr.ModelNotFound
	}
	there := m.aliases[alias]
	if version == 0 && there.version == 0 {
		return apierr.NotFound
	}
	if given != store.AnyEtag && given != etag(there.revision) {
		return apierr.Conflict
	}
	return r.moveOrAsk(actor, model, alias, version, 0)
}

func (r *reference) moveOrAsk(actor, model, alias string, version int32, rollback int64) apierr.Reason {
	m := r.models[model]
	there := m.aliases[alias]
	switch {
	case there.version == version:
		return ""
	case int(version) > len(m.seeds):
		return apierr.NotFound
	case !protectedName(alias):
		r.move(model, alias, version)
		return ""
	}
	waiting := m.waiting(alias, r.now)
	if waiting != nil && waiting.from == etag(there.revision) && waiting.to == version && waiting.asker == actor && waiting.rollback == rollback {
		return ""
	}
	r.revision++
	m.end(alias, r.now)
	m.changes = append(m.changes, &refChange{
		id: r.revision, alias: alias, from: etag(there.revision), to: version, asker: actor, rollback: rollback,
		expires: r.now.Add(approvalTime), state: pending,
	})
	return ""
}

func (r *reference) move(model, alias string, version int32) {
	m := r.models[model]
	r.revision++
	m.end(alias, r.now)
	state := refState{revision: r.revision, seed: -1, version: version}
	if version == 0 {
		delete(m.aliases, alias)
	} else {
		m.aliases[alias] = refAlias{version: version, revision: r.revision}
		state.seed = m.seeds[version-1]
	}
	key := model + "/" + alias
	r.histories[key] = append(r.histories[key], state)
}

func (m *refModel) waiting(alias string, now time.Time) *refChange {
	for _, c := range m.changes {
		if c.alias == alias && c.standing(now) == pending {
			return c
		}
	}
	return nil
}

func (c *refChange) standing(now time.Time) registryv1.AliasChangeState {
	if c.state == pending && !c.expires.After(now) {
		return expired
	}
	return c.state
}

// end is what a newer change does to one that waits.
func (m *refModel) end(alias string, now time.Time) {
	for _, c := range m.changes {
		if c.alias != alias || c.state != pending {
			continue
		}
		if c.state = c.standing(now); c.state == pending {
			c.state = superseded
		}
	}
}

func (r *reference) change(model string, id int64) (*refChange, apierr.Reason) {
	m := r.models[model]
	if m == nil {
		return nil, apierr.ModelNotFound
	}
	i := slices.IndexFunc(m.changes, func(c *refChange) bool { return c.id == id })
	if i < 0 {
		return nil, apierr.NotFound
	}
	return m.changes[i], ""
}

func (r *reference) approve(actor, model string, id int64) apierr.Reason {
	c, reason := r.change(model, id)
	if reason != "" {
		return reason
	}
	state := c.standing(r.now)
	stale := c.from != etag(r.models[model].aliases[c.alias].revision)
	switch {
	case stale && (state == pending || state == superseded):
		return apierr.Conflict
	case state != pending:
		return apierr.FailedPrecondition
	case actor == c.asker:
		return apierr.PermissionDenied
	}
	c.state = approved
	r.move(model, c.alias, c.to)
	return ""
}

func (r *reference) reject(model string, id int64) apierr.Reason {
	c, reason := r.change(model, id)
	switch {
	case reason != "":
		return reason
	case c.standing(r.now) != pending:
		return apierr.FailedPrecondition
	}
	c.state = rejected
	r.revision++
	return ""
}

// at returns the state that held at a revision.
func (r *reference) at(key string, revision int64) *refState {
	var out *refState
	for i, s := range r.histories[key] {
		if s.revision <= revision && revision <= r.revision {
			out = &r.histories[key][i]
		}
	}
	return out
}

func (r *reference) rollbackAlias(actor, model, alias string, revision int64) apierr.Reason {
	m := r.models[model]
	if m == nil {
		return apierr.ModelNotFound
	}
	was := r.at(model+"/"+alias, revision)
	switch {
	case was == nil:
		return apierr.NotFound
	case was.version != 0 && !m.has(was.version, was.seed):
		return apierr.FailedPrecondition
	}
	return r.moveOrAsk(actor, model, alias, was.version, revision)
}

func (m *refModel) has(version int32, seed int) bool {
	return int(version) <= len(m.seeds) && m.seeds[version-1] == seed
}

// setSplit sets a split, or removes it without arms. The salt is known only
// afterwards.
func (r *reference) setSplit(model, given string, arms []*registryv1.Arm) apierr.Reason {
	m := r.models[model]
	switch {
	case m == nil:
		return apierr.ModelNotFound
	case len(arms) == 0 && len(m.split.arms) == 0:
		return apierr.NotFound
	case given != store.AnyEtag && given != etag(m.split.revision):
		return apierr.Conflict
	case slices.EqualFunc(arms, m.split.arms, sameArms):
		return ""
	}
	for _, a := range arms {
		if int(a.GetVersion()) > len(m.seeds) {
			return apierr.NotFound
		}
	}
	salt := m.split.salt
	if len(arms) == 0 {
		salt = ""
	}
	r.putSplit(model, refSplit{arms: arms, salt: salt})
	return ""
}

func sameArms(a, b *registryv1.Arm) bool {
	return a.GetName() == b.GetName() && a.GetVersion() == b.GetVersion() && a.GetWeight() == b.GetWeight()
}

func (r *reference) putSplit(model string, sp refSplit) {
	m := r.models[model]
	r.revision++
	state := refState{revision: r.revision}
	if len(sp.arms) > 0 {
		sp.revision = r.revision
	}
	for _, a := range sp.arms {
		state.seeds = append(state.seeds, m.seeds[a.GetVersion()-1])
	}
	m.split, state.split = sp, sp
	r.histories[model+"/"] = append(r.histories[model+"/"], state)
}

func (r *reference) rollbackSplit(model string, revision int64) apierr.Reason {
	m := r.models[model]
	if m == nil {
		return apierr.ModelNotFound
	}
	was := r.at(model+"/", revision)
	if was == nil {
		return apierr.NotFound
	}
	for i, a := range was.split.arms {
		if !m.has(a.GetVersion(), was.seeds[i]) {
			return apierr.FailedPrecondition
		}
	}
	if was.split.salt == m.split.salt && slices.EqualFunc(was.split.arms, m.split.arms, sameArms) {
		return ""
	}
	r.putSplit(model, refSplit{arms: was.split.arms, salt: was.split.salt})
	return ""
}
