package placement

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Planner decides which worker is to load what. It keeps no state and is a
// function of what it is given, so that all replicas plan alike without a
// leader; a scheduler that knows more replaces Spread.
type Planner interface {
	// Plan returns the loads to ask for, in order. wanted are the versions that
	// must be served, by digest.
	Plan(wanted []*catalog.Version, workers []Facts) []Load
}

// Load is a version that a worker is to be asked to load.
type Load struct {
	Version *catalog.Version
	Worker  *fleet.Worker
}

// Facts is what a planner may know of a worker.
type Facts struct {
	Worker *fleet.Worker
	ID     string
	// Usable says that the worker can be asked to load something.
	Usable bool
	// Engines are the kinds of engine that it can start.
	Engines []string
	// FreeBytes is what a model may take in its largest memory.
	FreeBytes int64
	// Holds are the digests that it serves, or will serve without being asked
	// again.
	Holds map[string]bool
	// Blocked are the digests that it must not be asked for now: it refused
	// them of late, or they fail there.
	Blocked map[string]bool
}

// Spread keeps every wanted version on a number of workers.
type Spread struct {
	// Replicas is how many workers are to have each version.
	Replicas int
}

// Plan prefers workers on which the version fits, then those with more free
// memory, in steps of a power of two, because replicas do not see the same
// number at the same time; between equals the rendezvous hash decides.
func (s Spread) Plan(wanted []*catalog.Version, workers []Facts) []Load {
	free := make(map[*fleet.Worker]int64, len(workers))
	for _, w := range workers {
		free[w.Worker] = w.FreeBytes
	}
	var out []Load
	for _, v := range wanted {
		missing := s.Replicas - holders(v.Digest, workers)
		if missing <= 0 {
			continue
		}
		need := size(v)
		for _, w := range rank(v, need, candidates(v, workers), free) {
			if missing == 0 {
				break
			}
			missing--
			free[w.Worker] -= need
			out = append(out, Load{Version: v, Worker: w.Worker})
		}
	}
	return out
}

func holders(digest string, workers []Facts) int {
	n := 0
	for _, w := range workers {
		if w.Holds[digest] {
			n++
		}
	}
	return n
}

// candidates are the workers that can be asked for v.
func candidates(v *catalog.Version, workers []Facts) []Facts {
	var out []Facts
	for _, w := range workers {
		if w.Usable && !w.Holds[v.Digest] && !w.Blocked[v.Digest] && slices.Contains(w.Engines, v.Spec.GetEngine()) {
			out = append(out, w)
		}
	}
	return out
}

func rank(v *catalog.Version, need int64, workers []Facts, free map[*fleet.Worker]int64) []Facts {
	step := func(w Facts) int {
		left := free[w.Worker]
		if left <= 0 || left < need {
			return 0
		}
		return bits.Len64(uint64(left))
	}
	slices.SortFunc(workers, func(a, b Facts) int {
		return cmp.Or(
			cmp.Compare(step(b), step(a)),
			cmp.Compare(routing.Rendezvous(v.Digest, b.ID), routing.Rendezvous(v.Digest, a.ID)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return workers
}

// size is what the files of a version take: less than it needs in memory, but
// known without asking anybody.
func size(v *catalog.Version) int64 {
	var n int64
	for _, a := range v.Spec.GetArtifacts() {
		n += a.GetSizeBytes()
	}
	return n
}

// tolerance is for how long a version that does not serve counts as held.
type tolerance struct {
	absent time.Duration // the worker's stream is down
	failed time.Duration // the engine fails and is being started again
}

// factsOf reads what a worker reported. failedFor says for how long a version
// has been failing on it.
func factsOf(w *fleet.Worker, now time.Time, tol tolerance, failedFor func(digest string) time.Duration) Facts {
	r := w.Report()
	f := Facts{
		Worker: w, ID: w.ID(), Usable: w.Usable(), Engines: r.State.GetEngines(),
		Holds: make(map[string]bool), Blocked: make(map[string]bool),
	}
	for _, pool := range r.State.GetMemory() {
		f.FreeBytes = max(f.FreeBytes, pool.GetFreeBytes())
	}
	// A worker that restarts is back within seconds: moving its models about at
	// once would cost more than it saves.
	gone := !r.Connected && now.Sub(r.Since) > tol.absent
	for _, m := range r.State.GetModels() {
		switch m.GetState() { //nolint:exhaustive // a draining version serves nothing
		case workerv1.ModelState_MODEL_STATE_READY, workerv1.ModelState_MODEL_STATE_LOADING:
			f.Holds[m.GetDigest()] = !gone && !r.State.GetDraining()
		case workerv1.ModelState_MODEL_STATE_FAILED:
			f.Holds[m.GetDigest()] = !gone && failedFor(m.GetDigest()) <= tol.failed
			f.Blocked[m.GetDigest()] = true // the worker starts it again by itself
		}
	}
	return f
}
