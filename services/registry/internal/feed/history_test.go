package feed_test

import (
	"testing"
	"testing/synctest"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// A store that forgot what was seen is another store: a backup, for example.
func TestStoreThatWentBackEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10)
		w := r.watch(10)
		w.wantHeartbeat(10)
		r.source.set(func(s *fakeSource) { s.revision = 6 })
		r.feed.Wake()
		w.wantEnd(apierr.OutOfRange)
		r.watch(6).wantHeartbeat(6)
	})
}

// A store that was put back has given the revisions anew by the time that anybody
// looks: who has seen those of before must not go on among the others.
func TestStoreThatWentAnotherWayEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, revision := range []int64{10, 25} {
			r := newRig(t, 10)
			w := r.watch(10)
			seen := w.next()
			r.source.set(func(s *fakeSource) { s.history, s.revision = "restored", revision })
			r.feed.Wake()
			w.wantEnd(apierr.OutOfRange)
			r.watchFrom(store.Position{Revision: 10, Etag: seen.GetEtag()}).wantEnd(apierr.OutOfRange)
			fresh := r.watch(0)
			if m := fresh.next(); m.GetRevision() != revision || m.GetEtag() == seen.GetEtag() {
				t.Errorf("got %v, want a snapshot at %d with another etag than %q", m, revision, seen.GetEtag())
			}
			r.source.set(func(s *fakeSource) { s.revision++ })
			r.feed.Wake()
			fresh.wantChange(revision + 1)
		}
	})
}

func TestStoreThatIsFarAheadEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10)
		w := r.watch(10)
		w.wantHeartbeat(10)
		r.source.set(func(s *fakeSource) { s.revision, s.floor = 50, 40 })
		r.feed.Wake()
		w.wantEnd(apierr.OutOfRange) // its own reading finds that the changes are gone
		r.watch(45).wantChange(46)
	})
}
