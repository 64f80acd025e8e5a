package audit

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/backlog"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

const (
	maxBatch     = 512
	minRetry     = 100 * time.Millisecond
	maxRetry     = 5 * time.Second
	writeTimeout = 10 * time.Second
)

// Trail takes records and writes them to a sink in batches, in the order in
// which it took them. Its queue is bounded: when the sink is slower than the
// requests, these wait a little, and then Config.OnFull decides. It is safe for
// concurrent use.
type Trail struct {
	cfg     Config
	sink    Sink
	clock   clock.Clock
	log     *slog.Logger
	metrics *metrics.Metrics

	slots chan struct{} // one token for every record that waits, or will
	wake  chan struct{} // a record came
	full  chan struct{} // a whole batch waits, or nothing else fits

	mu       sync.Mutex
	queue    backlog.Queue[Record]
	appended uint64 // records taken so far
	written  uint64 // of which are no longer in the queue

	writing chan struct{} // held while a batch is written

	contents map[string]Sealed // of records in queue, by their ids
	held     int64             // bytes of contents, with those that are promised room

	chain   *Chain   // nil: records are in none
	journal *Journal // nil: what waits is lost with the process
	last    int64    // the last sequence number in the sink
	sunk    written  // what of the chain the sink has
	behind  error    // why the last write failed
}

// Proven has the trail link its records into chain, and keep them in journal until
// the sink has them. It must be called before the first record.
func (t *Trail) Proven(chain *Chain, journal *Journal) error {
	t.chain, t.journal, t.last = chain, journal, -1
	if journal == nil {
		return nil
	}
	return journal.begin(chain.name)
}

// NewTrail returns a trail over sink. Its component must run for records to be
// written; m may be nil.
func NewTrail(cfg Config, sink Sink, c clock.Clock, log *slog.Logger, m *metrics.Metrics) *Trail {
	return &Trail{
		cfg: cfg, sink: sink, clock: c, log: log, metrics: m,
		slots: make(chan struct{}, cfg.QueueSize), wake: make(chan struct{}, 1),
		full: make(chan struct{}, 1), writing: make(chan struct{}, 1), contents: make(map[string]Sealed),
	}
}

// Admit is asked before a request is handled. When requests that cannot be
// recorded are to be refused, it takes a place for the record, or refuses with
// UNAVAILABLE. Append or Forgo must follow it exactly once unless it failed.
func (t *Trail) Admit(ctx context.Context) error {
	if t.cfg.OnFull != FullRefuse {
		return nil
	}
	if t.journal != nil && t.journal.Failed() != nil {
		signal(t.wake) // what waits is written, and the journal begun anew
		signal(t.full)
		return refused()
	}
	if t.take(ctx) {
		return nil
	}
	return refused()
}

func refused() error {
	return apierr.New(apierr.Unavailable, "the audit trail cannot take more records, and no request is served without one").
		WithRetryAfter(time.Second)
}

// Refusing returns why requests are refused, or would be lost to the log; nil when
// all is well.
func (t *Trail) Refusing() error {
	if t.journal != nil {
		if err := t.journal.Failed(); err != nil {
			signal(t.wake) // somebody has to try
			return err
		}
	}
	if len(t.slots) < cap(t.slots) {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(errors.New("the audit trail's queue is full"), t.behind)
}

// Append adds a record. It may wait up to Config.FullWait for room. A record for
// which there is none is logged as an error and counted, never dropped in
// silence. The error is of a record that this process alone knows, for requests
// that must not be answered without one.
func (t *Trail) Append(ctx context.Context, rec Record) error { return t.AppendWith(ctx, &rec, nil) }

// AppendWith adds a record with its content, for which Hold has made room; nil when
// it has none. It brings the record to its normal form, and keeps a copy.
func (t *Trail) AppendWith(ctx context.Context, rec *Record, content *Sealed) error {
	// The request may be over already; its record is still due.
	ctx = context.WithoutCancel(ctx)
	rec.Normalise()
	if t.cfg.OnFull != FullRefuse && !t.take(ctx) {
		t.release(content)
		t.lose(ctx, []Record{*rec}, causeFull)
		return nil
	}
	t.mu.Lock()
	var err error
	rec = t.queue.Append(rec)
	if t.chain != nil {
		t.chain.link(rec)
		if t.journal != nil {
			err = t.journal.Append(rec, content)
		}
	}
	if content != nil {
		t.contents[rec.ID] = *content
	}
	t.appended++
	n := t.queue.Len()
	t.mu.Unlock()
	if err == nil && t.journal != nil {
		err = t.journal.Sync()
	}
	signal(t.wake)
	if n >= maxBatch || err != nil {
		signal(t.full)
	}
	if err != nil {
		t.metrics.AuditFailure(ctx)
		if t.cfg.OnFull == FullRefuse {
			return apierr.Wrap(apierr.Unavailable, err, "the request was handled, and its audit record cannot be kept").WithRetryAfter(time.Second)
		}
		t.log.ErrorContext(ctx, "an audit record is in memory only until the sink has it", telemetry.Err(err))
	}
	return nil
}

// Forgo gives the place back that Admit took, for a request of which no record
// is kept.
func (t *Trail) Forgo() {
	if t.cfg.OnFull == FullRefuse {
		<-t.slots
	}
}

// take gets a place in the queue.
func (t *Trail) take(ctx context.Context) bool {
	select {
	case t.slots <- struct{}{}:
		return true
	default:
	}
	signal(t.full) // there is no point in waiting for more records
	timer := t.clock.NewTimer(t.cfg.FullWait)
	defer timer.Stop()
	select {
	case t.slots <- struct{}{}:
		return true
	case <-timer.C():
	case <-ctx.Done():
	}
	return false
}

// Flush writes all records that wait now, or returns why it could not. Records
// that come meanwhile are not waited for.
func (t *Trail) Flush(ctx context.Context) error {
	t.mu.Lock()
	goal := t.appended
	t.mu.Unlock()
	for {
		t.mu.Lock()
		reached := t.written >= goal
		t.mu.Unlock()
		if reached {
			return nil
		}
		if err := t.writeBatch(ctx); err != nil {
			return err
		}
	}
}

// writeBatch writes the oldest records. What fails stays at the head of the
// queue.
func (t *Trail) writeBatch(ctx context.Context) error {
	select {
	case t.writing <- struct{}{}:
		defer func() { <-t.writing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.mu.Lock()
	batch := t.queue.First(maxBatch)
	t.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := t.write(ctx, batch)
	t.mu.Lock()
	t.behind = err
	t.mu.Unlock()
	if err != nil {
		t.metrics.AuditFailure(ctx)
		return err
	}
	end := batch[len(batch)-1]
	last := end.Sequence
	t.remove(len(batch))
	if t.chain != nil {
		t.mu.Lock()
		t.last, t.sunk = last, written{chain: end.Chain, size: last + 1, head: end.Hash}
		t.mu.Unlock()
	}
	if t.journal != nil {
		if err := t.journal.Written(last); err != nil {
			t.log.ErrorContext(ctx, "the audit journal cannot be cut short", telemetry.Err(err))
		}
	}
	t.metrics.AuditWritten(ctx, len(batch))
	return nil
}

// remove takes n records from the queue's head and gives their places back.
func (t *Trail) remove(n int) {
	t.mu.Lock()
	if len(t.contents) > 0 {
		for _, r := range t.queue.First(n) {
			if c, ok := t.contents[r.ID]; ok {
				delete(t.contents, r.ID)
				t.held -= int64(len(c.Data))
			}
		}
	}
	t.queue.Remove(n)
	t.written += uint64(n)
	t.mu.Unlock()
	for range n {
		<-t.slots
	}
}

// Component returns the part that writes. Start it before whatever serves
// requests, so that it is drained after.
func (t *Trail) Component() lifecycle.Component {
	return lifecycle.Component{Name: "audit", Run: t.run, Drain: t.Flush, Stop: t.stop}
}

func (t *Trail) run(ctx context.Context) error {
	retry := minRetry
	for t.await(ctx) {
		if err := t.Flush(ctx); err == nil {
			retry = minRetry
			t.mend(ctx)
		} else if ctx.Err() == nil {
			t.log.ErrorContext(ctx, "audit records cannot be written; they are kept and tried again", telemetry.Err(err))
			_ = clock.Sleep(ctx, t.clock, retry) // ended early: await sees it too
			retry = min(2*retry, maxRetry)
			signal(t.wake)
		}
	}
	return nil
}

// await waits for a record and then for more to come with it.
func (t *Trail) await(ctx context.Context) bool {
	select {
	case <-t.wake:
	case <-ctx.Done():
		return false
	}
	timer := t.clock.NewTimer(t.cfg.FlushInterval)
	defer timer.Stop()
	select {
	case <-timer.C():
	case <-t.full:
	case <-ctx.Done():
		return false
	}
	return true
}

// stop has one last try, and then tells the log what was not written.
func (t *Trail) stop(ctx context.Context) error {
	err := t.Flush(ctx)
	if err == nil {
		return t.closeJournal()
	}
	defer func() { _ = t.closeJournal() }()
	// The queue stays: a listing may have a batch of it in hand, and takes that out
	// when it is written after all.
	t.mu.Lock()
	left := slices.Clone(t.queue.First(t.queue.Len()))
	t.mu.Unlock()
	t.lose(ctx, left, causeEnd)
	return err
}

func (t *Trail) closeJournal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.journal.Close(t.last)
}

// Why a record is in the log only.
const (
	causeFull = "the trail is full"
	causeEnd  = "the trail could not be written before the end"
)

func (t *Trail) lose(ctx context.Context, recs []Record, cause string) {
	t.metrics.AuditLost(ctx, len(recs))
	for _, r := range recs {
		t.log.ErrorContext(ctx, "an audit record is only here", slog.String(metrics.KeyCause, cause), slog.Any(metrics.KeyRecord, r))
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Listing reads records back through reader, those that still wait included.
func (t *Trail) Listing(reader Reader) *Listing { return &Listing{trail: t, reader: reader} }

// Listing lists a trail's records.
type Listing struct {
	trail  *Trail
	reader Reader
}

// List returns a page of records, newest first. What was appended before is
// written first, so that a caller finds the request just made.
func (l *Listing) List(ctx context.Context, q Query) ([]Record, error) {
	if err := l.trail.Flush(ctx); err != nil {
		return nil, err
	}
	return l.reader.List(ctx, q)
}
