package imports

import (
	"context"
	"maps"
	"sync"

	"github.com/poterne/poterne/services/search/internal/outage"
)

// run is one import.
type run struct {
	*Importer
	req Request

	// Of the goroutine that gathers.
	open   *batch
	recent []*batch // the last that were dispatched
	last   int64    // the number of the last line

	queue chan *batch   // in the order of their lines
	slots chan struct{} // one for each batch in hand
	fault error         // why no more is gathered; read once queue is closed

	hands sync.WaitGroup // what works for the import, but for the receiving

	progress Progress // of the goroutine that tells
}

// tell sends what became of the batches in their order, and progress when there
// is nothing else to say, until everything is settled.
func (r *run) tell(ctx context.Context, s Stream) error {
	quiet := r.o.Clock.NewTimer(r.o.Heartbeat)
	defer quiet.Stop()
	var done <-chan outcome // of the batch whose turn it is
	queue := r.queue
	ending := false
	for {
		next := queue
		if done != nil {
			next = nil
		}
		select {
		case b, ok := <-next:
			switch {
			case ok:
				done = b.done
			case r.fault != nil:
				return r.fault
			default:
				queue, ending, done = nil, true, r.finish(ctx)
			}
			continue
		case o := <-done:
			done = nil
			r.note(o)
			if ending && outage.Is(o.err) { // everything is kept, and is followed later
				r.progress.Behind, o.err = o.err, nil
			}
			r.progress.Done = ending && o.err == nil
			if err := r.say(s, o); err != nil || ending {
				return err
			}
			<-r.slots
		case <-quiet.C():
			if err := s.Send(nil, r.snapshot()); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		quiet.Reset(r.o.Heartbeat)
	}
}

// say sends an outcome, and returns the error that ends the import with it.
func (r *run) say(s Stream, o outcome) error {
	if o.err == nil || len(o.verdicts) > 0 {
		if err := s.Send(o.verdicts, r.snapshot()); err != nil {
			return err
		}
	}
	return o.err
}

// finish waits, where that is asked for, until what was written can be found.
func (r *run) finish(ctx context.Context) <-chan outcome {
	done := make(chan outcome, 1)
	to := r.progress.Generation
	r.hands.Go(func() {
		var err error
		if r.req.Wait {
			err = r.o.Indexes.CatchUpServing(ctx, r.req.Collection, to)
		}
		done <- outcome{err: err}
	})
	return done
}

func (r *run) note(o outcome) {
	r.progress.Generation = max(r.progress.Generation, o.generation)
	for _, v := range o.verdicts {
		r.progress.Settled = v.Line
		r.progress.Counts[v.Status]++
	}
}

func (r *run) snapshot() Progress {
	p := r.progress
	p.Counts = maps.Clone(p.Counts)
	return p
}
