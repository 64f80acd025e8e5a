package batches

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/services/edge/internal/files"
)

// What a Store cannot do.
var (
	// ErrNotFound is a batch that is not there, or not that owner's.
	ErrNotFound = errors.New("batches: there is no such batch")
	// ErrTooMany is a tenant that has as many unfinished ones as it may.
	ErrTooMany = errors.New("batches: the tenant has as many unfinished batches as it may")
	// ErrLost is a lease that is somebody else's by now: nothing was written.
	ErrLost = errors.New("batches: another edge works on the batch")
	// ErrStatus is a batch whose status does not let that follow.
	ErrStatus = errors.New("batches: the batch's status does not allow it")
)

// Lease is an edge's right to write about a batch. Fence grows with each holder, so
// that one that slept through its loss writes nothing.
type Lease struct {
	Batch, Holder string
	Fence         int64
}

// Ending is how a batch ends.
type Ending struct {
	Status   Status
	Problems []Problem
	// Output and Errors are the files of results, written and not seen yet; nil: none.
	Output, Errors *files.File
	Time           time.Time
}

// Requests is what the server needs of a store.
type Requests interface {
	// Create keeps a batch whose input file is its owner's and good for it, or returns
	// files.ErrNotFound. A tenant has at most most that are unfinished.
	Create(ctx context.Context, b Batch, most int) error
	// Get returns an owner's batch.
	Get(ctx context.Context, o files.Owner, id string) (Batch, error)
	// List returns an owner's, the newest first, after the one named; "": from the
	// beginning.
	List(ctx context.Context, o files.Owner, after string, limit int) ([]Batch, error)
	// Cancel has an owner's batch end, if it may: otherwise the batch comes with
	// ErrStatus. One that is being cancelled, or was, comes as it is.
	Cancel(ctx context.Context, o files.Owner, id string, now time.Time) (Batch, error)
}

// Work is what a runner needs of a store. Every write shows a lease.
type Work interface {
	// Take gives holder an unfinished batch that nobody has until then: of the tenant
	// that has the fewest taken, and has not each already, the one that was worked on
	// the longest ago. ErrNotFound: there is none.
	Take(ctx context.Context, holder string, now, until time.Time, each int) (Batch, Lease, error)
	// Starved reports whether a tenant waits of whose batches none is taken.
	Starved(ctx context.Context, now time.Time) (bool, error)
	// Renew holds a batch longer, and returns its status.
	Renew(ctx context.Context, l Lease, until time.Time) (Status, error)
	// Release gives a batch back.
	Release(ctx context.Context, l Lease) error
	// Begin has a batch of so many requests be in progress; ErrStatus: it was cancelled.
	Begin(ctx context.Context, l Lease, total int64, now time.Time) error
	// Done returns the lines that are answered.
	Done(ctx context.Context, batch string) ([]int64, error)
	// Keep keeps answers, each line's once, and returns the batch's status.
	Keep(ctx context.Context, l Lease, results []Result) (Status, error)
	// Finalize has a batch, all of which is answered, be finalizing; ErrStatus: it was
	// cancelled.
	Finalize(ctx context.Context, l Lease, now time.Time) error
	// Results returns answers after a line, in the order of lines: at most limit, and
	// where several no more than some bytes.
	Results(ctx context.Context, batch string, after int64, limit int) ([]Result, error)
	// End ends a batch, with its files, at once.
	End(ctx context.Context, l Lease, e Ending) error
	// Tidy forgets some of the answers of ended batches, whose files have them, and
	// batches that ended before. It returns how many rows.
	Tidy(ctx context.Context, before time.Time, limit int) (int, error)
}

// Store keeps batches. It is safe for concurrent use, also by several edges.
type Store interface {
	Requests
	Work
}
