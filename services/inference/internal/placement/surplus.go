package placement

import (
	"cmp"
	"slices"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// copyOn is a form of a version that is ready on a worker that can be asked.
type copyOn struct {
	worker *fleet.Worker
	model  *workerv1.LoadedModel
}

// idle is for how long it was not used; 0 when that is not known.
func (c copyOn) idle() time.Duration {
	if c.model.GetLastUsedTime() == nil || c.model.GetActive()+c.model.GetQueued() > 0 {
		return 0
	}
	return c.worker.Report().State.GetObserveTime().AsTime().Sub(c.model.GetLastUsedTime().AsTime())
}

// copies are the ready ones, by digest.
type copies map[string][]copyOn

// copiesOf returns the ready copies of everything, those that shall stay longest
// first: all replicas see the same order.
func copiesOf(view *fleet.View) copies {
	out := make(copies)
	for _, w := range view.Workers {
		if !w.Usable() {
			continue
		}
		for _, m := range w.Report().State.GetModels() {
			if m.GetState() == workerv1.ModelState_MODEL_STATE_READY {
				out[m.GetDigest()] = append(out[m.GetDigest()], copyOn{w, m})
			}
		}
	}
	for digest, list := range out {
		slices.SortFunc(list, func(a, b copyOn) int {
			return cmp.Or(
				cmp.Compare(routing.Rendezvous(digest, b.worker.ID()), routing.Rendezvous(digest, a.worker.ID())),
				cmp.Compare(a.worker.ID(), b.worker.ID()),
			)
		})
	}
	return out
}

// of returns the copies of a version in the forms that may serve, the best first.
func (all copies) of(w *Want) []copyOn {
	forms := w.forms()
	if len(forms) == 1 {
		return all[forms[0].Digest]
	}
	var out []copyOn
	for _, one := range forms {
		out = append(out, all[one.Digest]...)
	}
	return out
}

// surplus finds copies that are not needed: more than the most at once, more than
// desired when that was so for the policy's time, those of a variant that a better
// one has taken the place of, and those of one that may not serve and nobody asks
// for by its digest. One of a version goes at a time, of the worst variant, the
// same for all replicas.
func (c *Controller) surplus(now time.Time, p picture, view *fleet.View) []Unload {
	if !c.opts.Catalog.Current() {
		return nil
	}
	var out []Unload
	all, users := copiesOf(view), usersOf(p.wants)
	for i := range p.wants {
		want := &p.wants[i]
		if want.exact {
			continue
		}
		one, ok := c.excluded(now, p, want, all)
		if !ok {
			if one, ok = c.tooMany(now, p, want, all.of(want)); ok {
				c.trends[want.Version.Digest].surplus = time.Time{}
			}
		}
		// What another version has too is not this one's to take.
		if digest := one.model.GetDigest(); ok && users[digest] < 2 {
			out = append(out, Unload{Digest: digest, Worker: one.worker})
		}
	}
	return out
}

// excluded returns a copy of a form that may not serve and was not used for a
// while: somebody may ask for it by its digest.
func (c *Controller) excluded(now time.Time, p picture, want *Want, all copies) (one copyOn, ok bool) {
	patience := cmp.Or(p.policies[want.Version.Digest].IdleUnload, c.opts.MinLoaded)
	for _, form := range want.Version.Variants {
		if want.rankOf(form.Digest) < len(want.forms()) {
			continue
		}
		for _, held := range all[form.Digest] {
			if c.age(now, held) >= c.opts.MinLoaded && held.idle() >= patience {
				return held, true
			}
		}
	}
	return one, false
}

// age is for how long a copy was seen.
func (c *Controller) age(now time.Time, one copyOn) time.Duration {
	return now.Sub(c.reaper.seen[spot{one.worker.ID(), one.model.GetDigest()}])
}

// tooMany returns the one of a version's copies that shall go now.
func (c *Controller) tooMany(now time.Time, p picture, want *Want, list []copyOn) (one copyOn, ok bool) {
	digest := want.Version.Digest
	t, policy := c.trends[digest], p.policies[digest]
	n, before := p.status[digest].Desired, t.copies
	t.copies = len(list)
	worse := func(one copyOn) bool {
		return want.rankOf(one.model.GetDigest()) > want.rankOf(list[0].model.GetDigest())
	}
	replaced := len(list) > 0 && !want.Fallback && worse(list[len(list)-1])
	if len(list) == 0 || len(list) <= n && !replaced {
		t.surplus = time.Time{}
		return one, false
	}
	// One that went, perhaps by another replica's doing, is the one of this time.
	if t.surplus.IsZero() || len(list) < before {
		t.surplus = now
	}
	patience := policy.IdleUnload
	switch {
	case len(list) > policy.Max, replaced && patience == 0:
		patience = c.opts.MinLoaded
	case policy.IdleUnload == 0:
		return one, false
	case n == 0:
		patience = 0 // it was idle for that long already
	}
	if now.Sub(t.surplus) < patience {
		return one, false
	}
	for _, one := range slices.Backward(list) {
		switch {
		case c.age(now, one) < c.opts.MinLoaded:
			return one, false // it is the next, a little later
		case worse(one) && one.idle() < patience:
			// Somebody may ask for it by its digest.
		case len(list) > n || worse(one):
			return one, true
		}
	}
	return one, false
}

// usersOf counts the versions that have each digest among their forms.
func usersOf(wants []Want) map[string]int {
	out := make(map[string]int, len(wants))
	for i := range wants {
		if wants[i].exact {
			continue
		}
		for _, one := range wants[i].Version.Variants {
			out[one.Digest]++
		}
	}
	return out
}
