package batches

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// grace is how long lines that are in hand may take when no further ones are asked.
const grace = time.Minute

// lineSet is the lines that are answered.
type lineSet map[int64]uint64

func (s lineSet) add(line int64)      { s[line/64] |= 1 << (line % 64) }
func (s lineSet) has(line int64) bool { return s[line/64]&(1<<(line%64)) != 0 }

func (j *job) answered(ctx context.Context) (lineSet, int64, error) {
	list, err := j.Store.Done(ctx, j.batch.ID)
	done := make(lineSet, len(list)/64+1)
	for _, line := range list {
		done.add(line)
	}
	return done, int64(len(list)), err
}

// answer has every line answered that is not yet. Its error says why it stopped before
// the last one.
func (j *job) answer(ctx context.Context) error {
	done, count, err := j.answered(ctx)
	if err != nil {
		return err
	}
	f, err := j.input(ctx)
	if err != nil {
		return err
	}
	asking, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	stop := context.AfterFunc(j.admit, func() { //nolint:contextcheck // the job's own
		_ = clock.Sleep(asking, j.Clock, grace)
		cut(context.Cause(j.admit)) //nolint:contextcheck // the job's own
	})
	defer stop()
	k := newKeeper(j)
	var keeping, asked sync.WaitGroup
	keeping.Go(func() { k.run(ctx) })
	err = j.each(newLines(files.Reader(ctx, j.Files, f), j.Config.MaxLineBytes), done, &asked, func(line Line, w *window) {
		if r := j.ask(asking, line, w); r != nil {
			k.put(*r)
		}
	})
	asked.Wait()
	k.close()
	keeping.Wait()
	switch {
	case k.err != nil:
		return k.err
	case count+k.kept >= j.batch.Total:
	case err != nil:
		return err
	default:
		return context.Cause(j.admit) //nolint:contextcheck // the job's own
	}
	now := j.Clock.Now()
	if err := j.Store.Finalize(ctx, j.lease, now); err != nil {
		return err
	}
	j.batch.Status, j.batch.FinalizingTime = Finalizing, now
	return nil
}

// each calls ask for each line that is not done, several at once.
func (j *job) each(in *lines, done lineSet, asked *sync.WaitGroup, ask func(Line, *window)) error {
	w := newWindow(j.Config.Concurrency)
	for {
		text, number, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("batches: read line %d: %w", number, err)
		}
		if done.has(number) {
			continue
		}
		line, problem := decode(text, number, j.batch.Endpoint)
		if problem != nil {
			return fmt.Errorf("batches: line %d was in order: %s", number, problem.Message)
		}
		if err := w.enter(j.admit, j.Clock); err != nil {
			return err
		}
		asked.Go(func() {
			defer w.leave()
			ask(line, w)
		})
	}
}

// The bounds of what is kept at once.
const (
	maxKept  = 64
	keepTime = 20 * time.Millisecond
)

// keeper keeps answers, several at once.
type keeper struct {
	job *job
	in  chan Result

	// Once run has returned:
	err  error
	kept int64
}

func newKeeper(j *job) *keeper { return &keeper{job: j, in: make(chan Result)} }

func (k *keeper) put(r Result) { k.in <- r }
func (k *keeper) close()       { close(k.in) }

// run keeps what is put, until it is closed. When it cannot, it has the batch stop, and
// passes over what else comes: those lines are asked again.
func (k *keeper) run(ctx context.Context) {
	for r := range k.in {
		list := k.gather([]Result{r})
		if k.err != nil {
			continue
		}
		if k.err = k.keep(ctx, list); k.err != nil {
			k.job.stop(k.err)
			continue
		}
		k.kept += int64(len(list))
	}
}

// gather adds what else comes soon.
func (k *keeper) gather(list []Result) []Result {
	timer := k.job.Clock.NewTimer(keepTime)
	defer timer.Stop()
	for len(list) < maxKept {
		select {
		case r, ok := <-k.in:
			if !ok {
				return list
			}
			list = append(list, r)
		case <-timer.C():
			return list
		}
	}
	return list
}

// keep writes answers, also when ctx has ended just now: they are paid for. A store
// that is away is asked again as long as the lease may hold.
func (k *keeper) keep(ctx context.Context, list []Result) error {
	j := k.job
	until := j.Clock.Now().Add(j.Config.Lease)
	for {
		out, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		status, err := j.Store.Keep(out, j.lease, list)
		cancel()
		switch {
		case err == nil:
			var completed int64
			for _, r := range list {
				if r.OK {
					completed++
				}
			}
			j.Metrics.Answered(ctx, completed, int64(len(list))-completed)
			if status == Cancelling {
				j.stop(errCancelled)
			}
			return nil
		case errors.Is(err, ErrLost), !j.Clock.Now().Before(until), clock.Sleep(ctx, j.Clock, time.Second) != nil:
			return err
		}
	}
}
