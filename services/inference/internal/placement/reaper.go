package placement

import (
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// spot is a version on a worker.
type spot struct{ worker, digest string }

// reaper finds the versions that nothing leads to any more. It knows only what
// it has seen itself, so a replica that was just started unloads nothing for a
// while.
type reaper struct {
	// grace is how long nothing must lead to a version.
	grace time.Duration
	// minLoaded is how long a version must have been seen on a worker.
	minLoaded time.Duration

	unreferenced map[string]time.Time // digest → since when
	seen         map[spot]time.Time   // since when
}

func newReaper(grace, minLoaded time.Duration) *reaper {
	return &reaper{
		grace: grace, minLoaded: minLoaded,
		unreferenced: make(map[string]time.Time), seen: make(map[spot]time.Time),
	}
}

// Unload is a version that a worker is to be asked to unload.
type Unload struct {
	Digest string
	Worker *fleet.Worker
}

// due returns what is to be unloaded now. A snapshot that is not current says
// nothing about what is still wanted: every grace then begins anew.
func (r *reaper) due(now time.Time, current bool, s *catalog.Snapshot, workers []*fleet.Worker) []Unload {
	if !current || s == nil {
		clear(r.unreferenced)
		return nil
	}
	var out []Unload
	loaded := make(map[string]bool)
	present := make(map[spot]bool)
	for _, w := range workers {
		for _, m := range w.Report().State.GetModels() {
			at := spot{w.ID(), m.GetDigest()}
			present[at], loaded[at.digest] = true, true
			since, ok := r.seen[at]
			if !ok {
				since, r.seen[at] = now, now
			}
			if s.Serves(at.digest) {
				delete(r.unreferenced, at.digest)
				continue
			}
			free, ok := r.unreferenced[at.digest]
			if !ok {
				free, r.unreferenced[at.digest] = now, now
			}
			draining := m.GetState() == workerv1.ModelState_MODEL_STATE_DRAINING
			if now.Sub(free) >= r.grace && now.Sub(since) >= r.minLoaded && w.Report().Connected && !draining {
				out = append(out, Unload{Digest: at.digest, Worker: w})
			}
		}
	}
	forget(r.seen, present)
	forget(r.unreferenced, loaded)
	return out
}

// forget drops the entries that are no longer there.
func forget[K comparable, V any](entries map[K]V, present map[K]bool) {
	for k := range entries {
		if !present[k] {
			delete(entries, k)
		}
	}
}
