package fleet

import (
	"math"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/prefix"
)

// Copy is one version on one worker. Its load is kept up to date without locks,
// because every request reads it.
type Copy struct {
	worker *Worker
	digest string
	own    atomic.Int64 // requests of this replica in flight
	others atomic.Int64 // requests of other replicas, as of the last report
	slots  atomic.Int64

	// What the scheduler knows of it. Given is tokens of prompts that it was given
	// in all, Prompts those of them that nobody knows to be read, and ReadTo how
	// many were given up to the last one that is. ReadAt is when that was, 0 when
	// it is not known, and ReadUntil when all are expected to be read, both in Unix
	// nanoseconds. Prefill is seconds a token of a prompt takes, Service seconds a
	// request.
	Cache                  prefix.Cache
	Given, Prompts, ReadTo atomic.Int64
	ReadAt, ReadUntil      atomic.Int64
	Prefill, Service       Average

	hash     uint64
	suspend  atomic.Int32  // reports until the copy may be used again
	kv       atomic.Uint64 // bits of the share of the KV cache that is taken
	ids      *atomic.Uint32
	restarts int32 // of its engine; only the worker's member changes it
}

func newCopy(w *Worker, digest string) *Copy {
	c := &Copy{worker: w, digest: digest, hash: xxhash.Sum64String(w.instance.ID), ids: w.ids}
	c.Cache.Renew(c.ids.Add(1))
	return c
}

// Digest is the digest under which the worker has it.
func (c *Copy) Digest() string { return c.digest }

// Worker is the worker that has the copy.
func (c *Copy) Worker() *Worker { return c.worker }

// Load returns the requests that the copy runs or holds queued, and how many it
// runs at once, at least 1. What the worker reports includes this replica's own
// requests as they were at that moment; these are replaced by what is in flight
// now, so that the choice does not wait for the next report.
func (c *Copy) Load() (requests, slots int64) {
	return c.own.Load() + c.others.Load(), max(1, c.slots.Load())
}

// Hash stands for the worker in rendezvous hashing, alike on every replica.
func (c *Copy) Hash() uint64 { return c.hash }

// suspendReports is how many reports lift a suspension: the first one may have
// been on its way.
const suspendReports = 2

// Suspend notes that the copy turned out not to serve: until the worker has
// reported again it gets no requests from those that wait.
func (c *Copy) Suspend() { c.suspend.Store(suspendReports) }

// Suspended reports whether the copy is to be left alone until it was heard again.
func (c *Copy) Suspended() bool { return c.suspend.Load() > 0 }

// Hold notes a request that takes no slot; Drop must follow.
func (c *Copy) Hold() { c.worker.inFlight.Add(1) }

// Drop notes its end.
func (c *Copy) Drop() { c.worker.release() }

// KVCache returns the share of the engine's KV cache that requests hold, as of
// the last report; 0 when the engine does not tell.
func (c *Copy) KVCache() float64 { return math.Float64frombits(c.kv.Load()) }

// InFlight returns this replica's requests in flight on the copy.
func (c *Copy) InFlight() int64 { return c.own.Load() }

// Acquire notes a request sent to the copy; Release must follow.
func (c *Copy) Acquire() {
	c.own.Add(1)
	c.worker.inFlight.Add(1)
}

// Release notes the end of a request.
func (c *Copy) Release() {
	c.own.Add(-1)
	c.worker.release()
}

// observe takes over what the worker reports.
func (c *Copy) observe(m *workerv1.LoadedModel) {
	if n := m.GetRestarts(); n != c.restarts {
		c.restarts = n
		c.Cache.Renew(c.ids.Add(1)) // an engine that was started again has nothing cached
	}
	if n := c.suspend.Load(); n > 0 {
		c.suspend.CompareAndSwap(n, n-1)
	}
	c.slots.Store(int64(m.GetSlots()))
	c.kv.Store(math.Float64bits(m.GetKvCacheUsage()))
	// What the report counts of this replica's own is as old as the report: taking
	// off what is in flight now would make up, or hide, requests of others.
	own := int64(m.GetOwn())
	if m.Own == nil { // a worker that does not tell
		own = c.own.Load()
	}
	c.others.Store(max(0, int64(m.GetActive())+int64(m.GetQueued())-own))
}
