package placement

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
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
	Plan(wanted []Want, workers []Facts) []Load
}

// Want is a version that shall be served.
type Want struct {
	Version *catalog.Version
	// Replicas is how many workers shall have it.
	Replicas int
	// Evict says that models nobody uses may be unloaded for it.
	Evict bool
	// Pinned is how many of its copies are to be pinned.
	Pinned int
	// WarmUp has each copy warmed up.
	WarmUp bool
}

// Load is a version that a worker is to be asked to load.
type Load struct {
	Want

	Worker *fleet.Worker
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
	// Blocked are the digests that it must not be asked for now: it refused
	// them of late, or they fail there.
	Blocked map[string]bool
}

// Spread keeps every wanted version on as many workers as it wants.
type Spread struct{}

// Plan prefers, in this order: workers on which the version fits as they are;
// those that have its files; those with more free memory, in steps of a power of
// two, because replicas do not see the same number at the same time; those with
// nothing in hand; and the rendezvous hash. Where it does not fit, it is asked
// for last, and there first where the most could be unloaded.
func (Spread) Plan(wanted []Want, workers []Facts) []Load {
	free := make(map[*fleet.Worker]int64, len(workers))
	for _, w := range workers {
		free[w.Worker] = w.FreeBytes
	}
	var out []Load
	for _, want := range wanted {
		v := want.Version
		held := holders(v.Digest, workers)
		missing := want.Replicas - held
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
			out = append(out, Load{Want: want, Worker: w.Worker, Pin: held < want.Pinned})
			held++
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
	files := Files(v.Spec)
	fits := func(w Facts) int { return truth(!w.Full && free[w.Worker] > 0 && free[w.Worker] >= need) }
	cached := func(w Facts) int {
		return truth(len(files) > 0 && !slices.ContainsFunc(files, func(f uint64) bool { return !w.Files[f] }))
	}
	step := func(w Facts) int {
		left := free[w.Worker]
		if fits(w) == 0 {
			left += w.EvictableBytes
		}
		return bits.Len64(uint64(max(left, 0)))
	}
	idle := func(w Facts) int { return truth(w.Busy == 0) }
	slices.SortFunc(workers, func(a, b Facts) int {
		return cmp.Or(
			cmp.Compare(fits(b), fits(a)),
			cmp.Compare(cached(b), cached(a)),
			cmp.Compare(step(b), step(a)),
			cmp.Compare(idle(b), idle(a)),
			cmp.Compare(routing.Rendezvous(v.Digest, b.ID), routing.Rendezvous(v.Digest, a.ID)),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return workers
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
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
		Holds: make(map[string]bool), Blocked: make(map[string]bool), Files: make(map[uint64]bool, len(r.State.GetArtifacts())),
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
