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

// at is where it is.
func (c copyOn) at() spot { return spot{c.worker.ID(), c.model.GetDigest()} }

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

// surplus finds copies that nobody needs: more than the most at once, more than
// desired when that was so for the policy's time, those of a variant that a better
// one has taken the place of, and those of one that may not serve and nobody asks
// for by its digest. Where several models have a form, all of them must be able to
// do without. One of a version goes at a time, of the worst variant that can go, the
// same for all replicas.
func (c *Controller) surplus(now time.Time, p picture, all copies) []Unload {
	if !c.opts.Catalog.Current() {
		return nil
	}
	users, spare := make(map[string][]int), make(map[spot]int)
	lists := make([][]copyOn, len(p.wants))
	for i := range p.wants {
		want := &p.wants[i]
		if want.exact {
			continue
		}
		for _, one := range want.Version.Variants {
			users[one.Digest] = append(users[one.Digest], i)
		}
		lists[i] = append(c.excluded(now, p, want, all), c.tooMany(now, p, want, all.of(want))...)
		for _, one := range lists[i] {
			spare[one.at()]++
		}
	}
	var out []Unload
	gave := make([]bool, len(p.wants)) // up a copy at this look
	for i, list := range lists {
		j := slices.IndexFunc(list, func(one copyOn) bool {
			of := users[one.model.GetDigest()]
			return spare[one.at()] == len(of) && !slices.ContainsFunc(of, func(user int) bool { return gave[user] })
		})
		if gave[i] || j < 0 {
			continue
		}
		for _, user := range users[list[j].model.GetDigest()] {
			gave[user] = true
			c.trends[servedOf(p.wants[user].Version)].surplus = time.Time{}
		}
		out = append(out, Unload{Digest: list[j].model.GetDigest(), Worker: list[j].worker})
	}
	return out
}

// excluded returns the copies of forms that may not serve and were not used for a
// while: somebody may ask for them by their digests.
func (c *Controller) excluded(now time.Time, p picture, want *Want, all copies) (out []copyOn) {
	patience := cmp.Or(p.policies[servedOf(want.Version)].IdleUnload, c.opts.MinLoaded)
	for _, form := range want.Version.Variants {
		if want.rankOf(form.Digest) < len(want.forms()) {
			continue
		}
		for _, held := range all[form.Digest] {
			if c.age(now, held) >= c.opts.MinLoaded && held.idle() >= patience {
				out = append(out, held)
			}
		}
	}
	return out
}

// age is for how long a copy was seen.
func (c *Controller) age(now time.Time, one copyOn) time.Duration {
	return now.Sub(c.reaper.seen[one.at()])
}

// tooMany returns those of a version's copies of which one may go now, the one
// that shall first.
func (c *Controller) tooMany(now time.Time, p picture, want *Want, list []copyOn) (out []copyOn) {
	key := servedOf(want.Version)
	t, policy, n := c.trends[key], p.policies[key], p.status[key].Desired
	before := t.copies
	t.copies = len(list)
	r := ranked{want: want, list: list}
	replaced := !want.Fallback && r.worse() > 0
	if len(list) <= n && !replaced {
		t.surplus = time.Time{}
		return nil
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
		return nil
	case n == 0:
		patience = 0 // it was idle for that long already
	}
	if now.Sub(t.surplus) < patience {
		return nil
	}
	for i, one := range slices.Backward(list) {
		// A worse form may be what somebody asks for by its digest.
		if c.age(now, one) >= c.opts.MinLoaded && r.mayGo(i, n) && (r.rank(i) == r.rank(0) || one.idle() >= patience) {
			out = append(out, one)
		}
	}
	return out
}
