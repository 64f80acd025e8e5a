package blob

import (
	"context"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/fetch"
)

// Want names a file.
type Want struct {
	// SHA256 is what its content must have, in hexadecimal digits.
	SHA256 string
	// Size is what it must have in bytes; 0 when not known.
	Size int64
}

// Source is where a file can be had. Its errors are those of package fetch.
type Source interface {
	// Name is the place without credentials; Kind is one of a few words, for
	// metrics.
	Name() string
	Kind() string
	// Open returns the content from offset on, or from its start.
	Open(ctx context.Context, offset int64, validator string) (*fetch.Content, error)
}

// flight is one file that is being fetched, for everybody who waits for it.
type flight struct {
	want   Want
	source Source
	cancel context.CancelFunc
	done   chan struct{} // closed when what follows is set
	err    error
	// abandoned says that it ended because nobody waited any more.
	abandoned bool
	// rechecked says that the file was there, and only had to be read.
	rechecked bool

	waiting  int   // guarded by the cache's mutex, as reserved
	reserved int64 // of disk space

	have, total, rate, tries atomic.Int64
}

// place is the file at its source.
func (f *flight) place() string { return f.want.SHA256 + " " + f.source.Name() }

// Progress is how far a fetch is.
type Progress struct {
	// Done and Total are bytes; Total is 0 while it is not known.
	Done, Total int64
	// Rate is bytes a second, of late.
	Rate int64
	// Source is where the file comes from, without credentials.
	Source string
	// Failures is how many tries in a row brought nothing.
	Failures int
}

// Progress tells of a fetch that runs.
func (c *Cache) Progress(sha256 string) (Progress, bool) {
	c.mu.Lock()
	f, ok := c.flights[sha256]
	c.mu.Unlock()
	if !ok {
		return Progress{}, false
	}
	return Progress{
		Done: f.have.Load(), Total: f.total.Load(), Rate: f.rate.Load(), Source: f.source.Name(), Failures: int(f.tries.Load()),
	}, true
}

// join returns the flight to wait for, or none when the file is there.
func (c *Cache) join(ctx context.Context, want Want, src Source) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[want.SHA256]; ok {
		if f.waiting > 0 {
			f.waiting++
			c.stats.Joined++
		}
		return f, nil
	}
	if size, ok := c.has(want.SHA256); ok {
		if want.Size != 0 && want.Size != size {
			return nil, apierr.New(apierr.FailedPrecondition, "the file with the SHA-256 %s has %d bytes, not %d", want.SHA256, size, want.Size)
		}
		c.stats.Hits++
		return nil, nil //nolint:nilnil // nothing to wait for
	}
	f := &flight{want: want, source: src, done: make(chan struct{}), waiting: 1}
	f.total.Store(want.Size)
	if r, ok := c.refused[f.place()]; ok {
		if c.parts.Clock.Now().Before(r.until) {
			return nil, r.err
		}
		delete(c.refused, f.place())
	}
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.flights[want.SHA256] = f
	go c.run(ctx, f)
	return f, nil
}

// leave is called by who waits no longer. The last one ends the flight, which it
// reports.
func (c *Cache) leave(f *flight) (ended bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiting == 0 {
		return false // it was ending already
	}
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		return true
	}
	return false
}

func (c *Cache) run(ctx context.Context, f *flight) {
	defer close(f.done)
	defer f.cancel()
	began := c.parts.Clock.Now()
	select {
	case c.slots <- struct{}{}:
		f.err = c.obtain(ctx, f)
		<-c.slots
	case <-ctx.Done():
		f.err = context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, f.want.SHA256)
	outcome := OutcomeOK
	switch {
	case f.rechecked:
		c.stats.Hits++
		return
	case f.err == nil:
		c.parts.Log.InfoContext(ctx, "file fetched", slog.String(keySource, f.source.Name()), slog.String(keySHA256, f.want.SHA256),
			slog.Int64(keyBytes, f.have.Load()), slog.Duration(keyTook, c.parts.Clock.Now().Sub(began).Round(time.Millisecond)))
	case ctx.Err() != nil:
		f.abandoned = f.waiting == 0
		outcome = OutcomeAbandoned
	default:
		outcome = OutcomeFailed
		c.parts.Log.WarnContext(ctx, "file not fetched", slog.String(keySource, f.source.Name()), slog.String(keySHA256, f.want.SHA256),
			slog.Any("error", f.err))
	}
	c.stats.Fetches[Series{Kind: f.source.Kind(), Outcome: outcome}]++
}

// The keys of logs.
const (
	keySource = "source"
	keySHA256 = "sha256"
	keyBytes  = "bytes"
	keyTook   = "took"
	keyOffset = "offset"
)

// Series is the labels of a count of fetches.
type Series struct{ Kind, Outcome string }

// The outcomes of fetches.
const (
	OutcomeOK        = "ok"
	OutcomeFailed    = "failed"
	OutcomeAbandoned = "abandoned"
)

// Stats counts since the cache was opened.
type Stats struct {
	Fetches map[Series]int64 // that ended
	Bytes   map[string]int64 // received, by kind of source
	// Hits is files that were there, and Joined those that another was fetching
	// just then.
	Hits, Joined int64
	// Evicted is files that made room.
	Evicted, EvictedBytes int64
	// Files and Size are what there is now, files fetched in part among them.
	Files, Size int64
}

// Stats returns the counts.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Fetches, s.Bytes = maps.Clone(s.Fetches), maps.Clone(s.Bytes)
	s.Files = int64(len(c.blobs))
	for _, e := range c.blobs {
		s.Size += e.Size
	}
	for sha, e := range c.partials {
		if c.flights[sha] == nil {
			s.Size += e.Size
		}
	}
	for sha, f := range c.flights {
		if c.blobs[sha] == nil {
			s.Size += f.have.Load()
		}
	}
	return s
}
