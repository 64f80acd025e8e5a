package fleet

import (
	"slices"
	"strings"
	"sync"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// View is which versions are where, at one moment. It is replaced when that
// changes, and not when only load does: load is read from the copies. It is not
// changed once made.
type View struct {
	// Workers are all workers known, by id.
	Workers []*Worker
	// Settled says that every worker that discovery named at the start was
	// heard or found away: before that, a version that nobody has may just not
	// have been heard of.
	Settled bool

	ready    map[string]*copies
	loading  map[string]int
	starting map[string]int // of those, engines that failed before
	restarts map[string][]Restart
}

// Restart is a start of an engine that failed, as its worker tells it.
type Restart struct {
	// At is when, by this replica's clock.
	At time.Time
	// Pause is the whole time from the failure on: it grows with every failure in a
	// row. 0: the worker does not tell.
	Pause time.Duration
}

// copies are those of one version.
type copies struct {
	list    []*Copy
	once    sync.Once
	byCache map[uint32]*Copy
}

// Ready returns the copies of a version that may get requests; read only.
func (v *View) Ready(digest string) []*Copy {
	if c := v.ready[digest]; c != nil {
		return c.list
	}
	return nil
}

// ByCache returns the ready copy of a version whose cache has the id, or nil.
func (v *View) ByCache(digest string, id uint32) *Copy {
	c := v.ready[digest]
	if c == nil {
		return nil
	}
	c.once.Do(func() {
		c.byCache = make(map[uint32]*Copy, len(c.list))
		for _, one := range c.list {
			c.byCache[one.Cache.ID()] = one
		}
	})
	return c.byCache[id]
}

// Loading returns how many workers are loading the version.
func (v *View) Loading(digest string) int { return v.loading[digest] }

// Starting returns how many of those that are loading it start an engine again that
// failed.
func (v *View) Starting(digest string) int { return v.starting[digest] }

// Restarts returns when engines of the version that failed are started again; read
// only. Those that are given up, or of workers that do not tell, are not among them.
func (v *View) Restarts(digest string) []Restart { return v.restarts[digest] }

// Fetching returns how far the fetching of a version's files is where it is
// furthest; nil when none are being fetched.
func (v *View) Fetching(digest string) *workerv1.FetchProgress {
	var best *workerv1.FetchProgress
	for _, w := range v.Workers {
		for _, m := range w.Report().State.GetModels() {
			f := m.GetFetch()
			if m.GetDigest() != digest || f.GetTotalBytes() <= 0 || !w.Usable() {
				continue
			}
			if best == nil || f.GetDoneBytes() > best.GetDoneBytes() {
				best = f
			}
		}
	}
	return best
}

func newView(workers []*Worker, settled bool) *View {
	v := &View{
		Workers: workers, Settled: settled,
		ready: make(map[string]*copies), loading: make(map[string]int), starting: make(map[string]int), restarts: make(map[string][]Restart),
	}
	slices.SortFunc(v.Workers, func(a, b *Worker) int {
		if c := strings.Compare(a.ID(), b.ID()); c != 0 {
			return c
		}
		return strings.Compare(a.Addr(), b.Addr())
	})
	for _, w := range v.Workers {
		if !w.Usable() {
			continue
		}
		r := w.Report()
		for _, m := range r.State.GetModels() {
			switch m.GetState() { //nolint:exhaustive // the others serve nothing
			case workerv1.ModelState_MODEL_STATE_READY:
				v.add(m.GetDigest(), w.copyOf(m.GetDigest()))
			case workerv1.ModelState_MODEL_STATE_LOADING:
				v.loading[m.GetDigest()]++
				if m.GetRestarts() > 0 {
					v.starting[m.GetDigest()]++
				}
			case workerv1.ModelState_MODEL_STATE_FAILED:
				if m.RestartTime != nil {
					// Both times are the worker's, whose clock may be another than ours.
					left := m.GetRestartTime().AsTime().Sub(r.State.GetObserveTime().AsTime())
					v.restarts[m.GetDigest()] = append(v.restarts[m.GetDigest()], Restart{At: r.At.Add(left), Pause: m.GetRestartPause().AsDuration()})
				}
			}
		}
	}
	return v
}

func (v *View) add(digest string, c *Copy) {
	set := v.ready[digest]
	if set == nil {
		set = new(copies)
		v.ready[digest] = set
	}
	set.list = append(set.list, c)
}

// sameShape reports whether two states lead to the same view.
func sameShape(a, b *workerv1.WorkerState) bool {
	return a.GetWorkerId() == b.GetWorkerId() && a.GetDraining() == b.GetDraining() &&
		slices.Equal(a.GetEngines(), b.GetEngines()) &&
		slices.EqualFunc(a.GetModels(), b.GetModels(), func(x, y *workerv1.LoadedModel) bool {
			// An engine that was started again has another cache.
			return x.GetDigest() == y.GetDigest() && x.GetState() == y.GetState() && x.GetRestarts() == y.GetRestarts()
		})
}
