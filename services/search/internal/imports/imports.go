// Package imports takes any number of documents in over a stream: it gathers
// them into batches that fill the embedding model's, keeps a few of these in hand
// and reads on only when one is settled, and tells what became of each document in
// the order of their lines. What is settled stays when the stream breaks. It knows
// no wire format; start reading at Importer.Run.
package imports

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Line is one document of an import, or why there is none.
type Line struct {
	// Number is its line, which grows; 0: the one after the last.
	Number   int64
	Document ingest.Input
	Err      *apierr.Error
}

// Verdict is what became of one line. The lines up to it are settled.
type Verdict struct {
	Line int64
	ingest.Result
}

// Progress is how far an import is.
type Progress struct {
	// Settled: the lines up to this one need not be sent again.
	Settled    int64
	Counts     map[ingest.Status]int64
	Generation int64
	Done       bool
	// Behind is why what was written cannot be found yet, an outage; nil when it can,
	// or when nobody waited for that.
	Behind error
}

// Stream is where documents come from and verdicts go. Recv and Send are each
// called by one goroutine at a time, and side by side; Recv returns io.EOF at the
// end, and must return once the stream's context has ended.
type Stream interface {
	Recv() ([]Line, error)
	Send(verdicts []Verdict, p Progress) error
}

// Collections gives the present state of a collection.
type Collections interface {
	Collection(ctx context.Context, tenant, id string) (store.Collection, error)
}

// Ingester takes batches in; *ingest.Ingester is one.
type Ingester interface {
	Upsert(ctx context.Context, c store.Collection, by store.Rights, docs []ingest.Input, wait bool) ([]ingest.Result, int64, error)
}

// Indexes brings indexes up to what was written.
type Indexes interface {
	// CatchUpServing does so for the embedding generation that serves by then.
	CatchUpServing(ctx context.Context, c store.Collection, to int64) error
}

// Options is what an importer needs.
type Options struct {
	Collections Collections
	Ingester    Ingester
	Indexes     Indexes
	Clock       clock.Clock
	// BatchDocuments and BatchBytes bound what is taken in together, and Window
	// how many batches are in hand: a stream holds Window+1 of them at most, and
	// the message that it is reading.
	BatchDocuments, BatchBytes, Window int
	// Linger is how long a batch waits for more.
	Linger time.Duration
	// Heartbeat is after how much silence progress is told.
	Heartbeat time.Duration
	// Idle is how long a stream may send nothing while there is nothing to do.
	Idle time.Duration
	// Patience is how long documents are tried again while what search stands on
	// is away, before the stream ends for it.
	Patience time.Duration
	// Streams and TenantStreams bound the imports at a time.
	Streams, TenantStreams int
}

// Importer runs imports. It is safe for concurrent use.
type Importer struct {
	o Options

	mu      sync.Mutex
	streams int
	tenants map[string]int
}

// New returns an importer.
func New(o Options) *Importer { return &Importer{o: o, tenants: make(map[string]int)} }

// Request says what is imported.
type Request struct {
	// Collection is the collection as it is when the import begins.
	Collection store.Collection
	By         store.Rights
	// First is the number of the first line, from 1.
	First int64
	// Wait has the end wait until everything can be found.
	Wait bool
}

// Run imports what the stream brings until its end, and tells of it. An error is
// of the stream: what was settled before stays, and an import that begins after
// the settled lines goes on.
func (m *Importer) Run(ctx context.Context, req Request, s Stream) error {
	leave, err := m.enter(req.Collection.Tenant)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithCancelCause(ctx)
	first := max(req.First, 1)
	r := &run{
		Importer: m, req: req, queue: make(chan *batch, m.o.Window), slots: make(chan struct{}, m.o.Window),
		last:     first - 1,
		progress: Progress{Settled: first - 1, Counts: make(map[ingest.Status]int64), Generation: req.Collection.Generation},
	}
	defer r.hands.Wait()
	defer cancel(errEnded)
	// Said at once: whoever sends may wait for it before the first document.
	if err := s.Send(nil, r.snapshot()); err != nil {
		return err
	}
	r.hands.Go(func() {
		defer close(r.queue)
		r.fault = r.gather(ctx, receive(ctx, s))
	})
	return r.tell(ctx, s)
}

var errEnded = errors.New("the import has ended")

// enter admits one more import of the tenant.
func (m *Importer) enter(tenant string) (leave func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.streams >= m.o.Streams || m.tenants[tenant] >= m.o.TenantStreams {
		return nil, apierr.New(apierr.Overloaded, "too many imports are under way; try again later").WithRetryAfter(busyRetry)
	}
	m.streams++
	m.tenants[tenant]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.streams--
		if m.tenants[tenant]--; m.tenants[tenant] == 0 {
			delete(m.tenants, tenant)
		}
	}, nil
}

// busyRetry is when to come back to a service that has its hands full.
const busyRetry = 5 * time.Second
