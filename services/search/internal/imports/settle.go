package imports

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/outage"
)

// outcome is what became of a batch: the verdicts of its leading lines, of all
// of them unless there is an error.
type outcome struct {
	verdicts   []Verdict
	generation int64
	err        error
}

// The pauses between the attempts of documents that cannot be written now.
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 5 * time.Second
)

// settle takes a batch in. What fails because something is away is tried again
// for a while, during which the stream is held up: a verdict "failed" for each of
// what may be millions of documents would help nobody.
func (r *run) settle(ctx context.Context, b *batch) outcome {
	for _, other := range b.after {
		select {
		case <-other.settled:
		case <-ctx.Done():
			return outcome{err: context.Cause(ctx)}
		}
	}
	b.after = nil // each would keep the ones before it, back to the first
	results := make([]ingest.Result, len(b.lines))
	open := make([]int, 0, len(b.lines)) // the lines without a result yet
	for i, l := range b.lines {
		if l.Err != nil {
			results[i] = ingest.Result{ID: l.Document.ID, Status: ingest.Failed, Err: l.Err}
			continue
		}
		open = append(open, i)
	}
	var generation int64
	began, pause := r.o.Clock.Now(), firstPause
	for {
		last, err := r.attempt(ctx, b, &open, results)
		generation = max(generation, last)
		if len(open) == 0 && err == nil {
			return outcome{verdicts: verdicts(b.lines, results), generation: generation}
		}
		patient := r.o.Clock.Now().Sub(began)+pause <= r.o.Patience
		if !passing(err) || !patient || clock.Sleep(ctx, r.o.Clock, pause) != nil {
			lead := len(b.lines)
			if len(open) > 0 {
				lead = open[0]
			}
			return outcome{verdicts: verdicts(b.lines[:lead], results), generation: generation, err: err}
		}
		pause = min(2*pause, maxPause)
	}
}

// attempt tries the open lines once, and leaves those open that failed for what
// may pass; the error is why.
func (r *run) attempt(ctx context.Context, b *batch, open *[]int, results []ingest.Result) (generation int64, _ error) {
	if len(*open) == 0 {
		return 0, nil
	}
	c, err := r.o.Collections.Collection(ctx, r.req.Collection.Tenant, r.req.Collection.ID)
	if err != nil {
		return 0, outage.Of(err)
	}
	if c.UID != r.req.Collection.UID {
		return 0, apierr.New(apierr.NotFound, "the collection was deleted meanwhile").WithField("collection")
	}
	docs := make([]ingest.Input, len(*open))
	for i, at := range *open {
		docs[i] = b.lines[at].Document
	}
	got, generation, err := r.o.Ingester.Upsert(ctx, c, r.req.By, docs, false)
	if err != nil {
		return 0, outage.Of(err)
	}
	var again []int
	var why error
	for i, at := range *open {
		if res := got[i]; res.Err == nil || !passing(res.Err) {
			results[at] = res
			continue
		}
		again, why = append(again, at), got[i].Err
	}
	*open = again
	return generation, why
}

// passing reports whether an error is of something that is away for now.
func passing(err error) bool {
	if err == nil {
		return false
	}
	//exhaustive:ignore
	switch apierr.ReasonOf(err) {
	case apierr.Unavailable, apierr.Overloaded, apierr.RateLimited, apierr.DeadlineExceeded:
		return true
	default:
		return false
	}
}

func verdicts(lines []Line, results []ingest.Result) []Verdict {
	out := make([]Verdict, len(lines))
	for i, l := range lines {
		out[i] = Verdict{Line: l.Number, Result: results[i]}
	}
	return out
}
