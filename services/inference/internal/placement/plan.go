package placement

import (
	"strings"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// Planner decides which worker is to load what. It keeps no state and is a
// function of what it is given, so that all replicas plan alike without a
// leader; a scheduler that knows more replaces Spread.
type Planner interface {
	// Plan returns the loads to ask for, in order. wanted are the versions that
	// must be served, by digest.
	Plan(wanted []Want, workers []Facts) []Load
}

// Want is a version that shall be served.
type Want struct {
	Version *catalog.Version
	// Variants are the forms that it may be loaded in, best first; empty is all.
	Variants []*catalog.Variant
	// Fallback lets worse variants serve beside better ones. Without it only copies
	// of the best one that is held count.
	Fallback bool
	// Improve has better variants take the place of worse ones when there is room.
	Improve bool
	// Replicas is how many workers shall have it.
	Replicas int
	// Evict says that models nobody uses may be unloaded for it.
	Evict bool
	// Pinned is how many of its copies are to be pinned.
	Pinned int
	// WarmUp has each copy warmed up.
	WarmUp bool

	exact bool // it is there for who asked for this variant by its digest
}

// Load is a variant of a version that a worker is to be asked to load.
type Load struct {
	Want

	Variant *catalog.Variant
	Worker  *fleet.Worker
	// Pin has this copy pinned.
	Pin bool
}

// Facts is what a planner may know of a worker.
type Facts struct {
	Worker *fleet.Worker
	ID     string
	// Usable says that the worker can be asked to load something.
	Usable bool
	// Engines are the kinds of engine that it can start.
	Engines []string
	// FreeBytes is what a model may take: of the main memory or of all GPUs
	// together, whichever is more. EvictableBytes is what models take of the same
	// that could be unloaded.
	FreeBytes, EvictableBytes int64
	// Full says that it takes no more models unless it unloads one.
	Full bool
	// Busy is how many requests it has in hand.
	Busy int
	// Files are files on its disk, as WorkerState.artifacts names them.
	Files map[uint64]bool
	// Holds are the digests that it serves, or will serve without being asked
	// again.
	Holds map[string]bool
	// Blocked are the digests that it must not be asked for yet: it refused
	// them of late, or they fail there. Refused are those that it refused when it
	// had about as much room as now.
	Blocked, Refused map[string]bool
}

// holders counts the workers that hold each version.
func holders(workers []Facts) map[string]int {
	out := make(map[string]int)
	for _, w := range workers {
		for digest, holds := range w.Holds {
			if holds {
				out[digest]++
			}
		}
	}
	return out
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
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
		Holds: make(map[string]bool), Blocked: make(map[string]bool), Refused: make(map[string]bool), Files: make(map[uint64]bool, len(r.State.GetArtifacts())),
		Busy: int(r.State.GetInFlight()),
	}
	f.readMemory(r.State.GetMemory())
	for _, file := range r.State.GetArtifacts() {
		f.Files[file] = true
	}
	// A worker that restarts is back within seconds: moving its models about at
	// once would cost more than it saves.
	gone := !r.Connected && now.Sub(r.Since) > tol.absent
	loaded := 0
	for _, m := range r.State.GetModels() {
		if m.GetState() != workerv1.ModelState_MODEL_STATE_QUARANTINED {
			loaded++
		}
		switch m.GetState() { //nolint:exhaustive // a draining version serves nothing
		case workerv1.ModelState_MODEL_STATE_READY, workerv1.ModelState_MODEL_STATE_LOADING:
			f.Holds[m.GetDigest()] = !gone && !r.State.GetDraining()
		case workerv1.ModelState_MODEL_STATE_FAILED:
			f.Holds[m.GetDigest()] = !gone && failedFor(m.GetDigest()) <= tol.failed
			f.Blocked[m.GetDigest()] = true // the worker starts it again by itself
		case workerv1.ModelState_MODEL_STATE_QUARANTINED:
			f.Blocked[m.GetDigest()] = true
		}
	}
	f.Full = r.State.GetMaxModels() > 0 && loaded >= int(r.State.GetMaxModels())
	return f
}

// readMemory adds the GPUs up, over which one model may be spread.
func (f *Facts) readMemory(pools []*workerv1.MemoryPool) {
	var free, evictable [2]int64 // of the main memory, of the GPUs
	for _, pool := range pools {
		kind := truth(strings.HasPrefix(pool.GetId(), "gpu"))
		free[kind] += pool.GetFreeBytes()
		evictable[kind] += pool.GetEvictableBytes()
	}
	most := truth(free[1]+evictable[1] > free[0]+evictable[0])
	f.FreeBytes, f.EvictableBytes = free[most], evictable[most]
}
