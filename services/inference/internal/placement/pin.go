package placement

import (
	"context"
	"time"
)

// pin has workers told which copies are pinned, where they say otherwise: the
// first ones of each version in the forms that may serve. A copy that two versions
// have is pinned if it is for one of them.
func (c *Controller) pin(ctx context.Context, p picture, all copies, now time.Time) {
	pinned := make(map[spot]bool)
	for i := range p.wants {
		want := &p.wants[i]
		if want.exact || want.Pinned == 0 {
			continue
		}
		for i, held := range all.of(want) {
			if i < want.Pinned {
				pinned[spot{held.worker.ID(), held.model.GetDigest()}] = true
			}
		}
	}
	told := make(map[spot]bool)
	for i := range p.wants {
		want := &p.wants[i]
		if want.exact {
			continue
		}
		for _, one := range want.Version.Variants {
			for _, held := range all[one.Digest] {
				at := spot{held.worker.ID(), one.Digest}
				// A worker that says no limit of models knows of no pins either.
				knows := held.worker.Report().State.GetMaxModels() > 0
				if !knows || told[at] || pinned[at] == held.model.GetPinned() {
					continue
				}
				told[at] = true
				if !c.asked.blocked(held.worker, one.Digest, now, want.Evict) {
					c.load(ctx, Load{Want: *want, Variant: one, Worker: held.worker, Pin: pinned[at]})
				}
			}
		}
	}
}
