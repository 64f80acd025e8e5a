package fleet

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/discovery"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// Worker is one worker as this replica sees it. All methods are safe for
// concurrent use.
type Worker struct {
	instance discovery.Instance
	client   workerv1.WorkerServiceClient
	close    func() error
	closing  sync.Once
	ids      *atomic.Uint32 // of copies

	inFlight atomic.Int64
	retired  atomic.Bool
	report   atomic.Pointer[Report]
	cooling  cooldown

	mu     sync.Mutex
	copies map[string]*Copy
}

// Report is what is known of a worker at one moment. It is not changed once
// made.
type Report struct {
	// State is the last state that the worker pushed; nil before the first.
	State *workerv1.WorkerState
	// Connected says whether the state stream is up.
	Connected bool
	// At is when State arrived.
	At time.Time
	// Since is when Connected last changed.
	Since time.Time
	// Away is how long the worker was not connected before, once it is.
	Away time.Duration
}

func newWorker(in discovery.Instance, client workerv1.WorkerServiceClient, closeConn func() error, ids *atomic.Uint32, now time.Time) *Worker {
	w := &Worker{instance: in, client: client, close: closeConn, ids: ids, copies: make(map[string]*Copy)}
	w.report.Store(&Report{Since: now})
	return w
}

// ID is the worker's own id once it has reported, and discovery's id before.
func (w *Worker) ID() string {
	if id := w.Report().State.GetWorkerId(); id != "" {
		return id
	}
	return w.instance.ID
}

// Addr is the worker's gRPC address.
func (w *Worker) Addr() string { return w.instance.Addr }

// Client calls the worker.
func (w *Worker) Client() workerv1.WorkerServiceClient { return w.client }

// Report returns what is known of the worker.
func (w *Worker) Report() *Report { return w.report.Load() }

// InFlight returns this replica's requests in flight on the worker.
func (w *Worker) InFlight() int64 { return w.inFlight.Load() }

// Hold notes work that belongs to no copy, so that the connection stays; Drop
// must follow.
func (w *Worker) Hold() { w.inFlight.Add(1) }

// Drop notes its end.
func (w *Worker) Drop() { w.release() }

// Usable reports whether the worker may get new requests.
func (w *Worker) Usable() bool {
	r := w.Report()
	return r.Connected && !r.State.GetDraining()
}

// Failed notes that the worker could not be reached at now. It is passed over
// for a while that doubles with every failure in a row.
func (w *Worker) Failed(now time.Time) { w.cooling.failed(now) }

// Succeeded notes that the worker answered.
func (w *Worker) Succeeded() { w.cooling.reset() }

// Cooling reports whether the worker should be passed over at now.
func (w *Worker) Cooling(now func() time.Time) bool { return w.cooling.active(now) }

// release notes the end of a request, and closes the connection after the last
// request of a worker that is gone.
func (w *Worker) release() {
	if w.inFlight.Add(-1) == 0 && w.retired.Load() {
		w.shut()
	}
}

// retire closes the connection as soon as no request is in flight.
func (w *Worker) retire() {
	w.retired.Store(true)
	if w.inFlight.Load() == 0 {
		w.shut()
	}
}

func (w *Worker) shut() {
	w.closing.Do(func() {
		if w.close != nil {
			_ = w.close() // nothing is in flight: nobody is to be told
		}
	})
}

// copyOf returns the worker's copy of a version, the same one as long as the
// worker is known: requests in flight survive a restart of the engine.
func (w *Worker) copyOf(digest string) *Copy {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.copies[digest]
	if !ok {
		c = newCopy(w, digest)
		w.copies[digest] = c
	}
	return c
}

// forgetCopies drops the copies that the worker no longer has, unless requests
// are in flight on them.
func (w *Worker) forgetCopies(present map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for digest, c := range w.copies {
		if !present[digest] && c.own.Load() == 0 {
			delete(w.copies, digest)
		}
	}
}

// The times for which a worker that could not be reached is passed over.
const (
	coolBase = 500 * time.Millisecond
	coolMax  = 10 * time.Second
)

// cooldown remembers connection failures. Its reading costs one atomic load
// when there was none.
type cooldown struct {
	until    atomic.Int64 // Unix nanoseconds; 0 when there was no failure
	failures atomic.Int32
}

func (c *cooldown) failed(now time.Time) {
	wait := coolMax
	if n := c.failures.Add(1); n < 6 {
		wait = min(coolMax, coolBase<<(n-1))
	}
	c.until.Store(now.Add(wait).UnixNano())
}

func (c *cooldown) reset() {
	if c.until.Load() != 0 {
		c.failures.Store(0)
		c.until.Store(0)
	}
}

func (c *cooldown) active(now func() time.Time) bool {
	until := c.until.Load()
	return until != 0 && now().UnixNano() < until
}
