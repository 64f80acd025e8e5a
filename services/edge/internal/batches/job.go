package batches

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// Why no further line of a batch is asked.
var (
	errCancelled = errors.New("batches: the batch is cancelled")
	errExpired   = errors.New("batches: the batch's time is over")
	errTurn      = errors.New("batches: it is another tenant's turn")
)

// refusedError is that the batch's maker may not have it any more.
type refusedError struct{ problem Problem }

func (r *refusedError) Error() string { return "batches: " + r.problem.Message }

// job is a batch in hand.
type job struct {
	*Runner
	batch Batch
	lease Lease
	addr  netip.Addr
	began time.Time
	poke  chan struct{}

	// admit ends when no further line is to be asked, with why; stop ends it.
	admit context.Context //nolint:containedctx // the job's own, from its beginning to its end
	stop  context.CancelCauseFunc
}

func newJob(r *Runner, b Batch, l Lease, now time.Time) *job {
	addr, _ := netip.ParseAddr(b.Address) // invalid: it was not known
	j := &job{Runner: r, batch: b, lease: l, addr: addr, began: now, poke: make(chan struct{}, 1)}
	j.admit, j.stop = context.WithCancelCause(context.Background())
	return j
}

// work works on the batch until it has ended, or ctx has, or it is somebody else's.
func (j *job) work(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(ctx, func() { j.stop(context.Cause(ctx)) })
	defer unhook()
	var watching sync.WaitGroup
	watching.Go(func() { j.watch(ctx, cancel) })
	err := j.states(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	watching.Wait()
	out := context.WithoutCancel(ctx)
	log := j.Log.With(slog.String("batch", j.batch.ID))
	switch {
	case err == nil:
		j.Metrics.Ended(out, string(j.batch.Status))
		log.InfoContext(out, "a batch has ended", slog.String("status", string(j.batch.Status)))
		return
	case errors.Is(err, ErrLost):
		j.Metrics.Lost(out)
		log.WarnContext(out, "another edge works on the batch now")
		return
	case errors.Is(err, errTurn), errors.Is(err, context.Canceled):
	default:
		j.Metrics.Failed(out)
		log.WarnContext(out, "the work on a batch is given up for a while", telemetry.Err(err))
	}
	out, done := context.WithTimeout(out, storeTime)
	defer done()
	if err := j.Store.Release(out, j.lease); err != nil {
		log.WarnContext(out, "a batch is left to others only when its lease ends", telemetry.Err(err))
	}
}

// storeTime bounds what is still written when the work is over.
const storeTime = 10 * time.Second

// watch holds the lease, and looks at whether the batch may go on: until ctx ends, or
// cancel ends it since the lease is lost.
func (j *job) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	sure := j.began // when the lease was surely held
	for {
		now := j.Clock.Now()
		status, err := j.Store.Renew(ctx, j.lease, now.Add(j.Config.Lease))
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			sure = now
		case errors.Is(err, ErrLost), j.Clock.Now().Sub(sure) >= j.Config.Lease:
			cancel(ErrLost)
			return
		}
		if status == Cancelling {
			j.stop(errCancelled)
		}
		left := j.batch.ExpireTime.Sub(j.Clock.Now())
		if left <= 0 {
			j.stop(errExpired)
			left = j.Config.Lease
		}
		if _, err := j.Holders.Holder(ctx, j.batch.KeyID, j.addr); err != nil {
			j.refused(err)
		}
		timer := j.Clock.NewTimer(min(j.Config.Lease/3, left))
		select {
		case <-ctx.Done():
		case <-j.poke:
		case <-timer.C():
		}
		timer.Stop()
	}
}

// refused stops the batch when err says that its maker may not have it any more.
func (j *job) refused(err error) {
	switch apierr.ReasonOf(err) {
	case apierr.Unauthenticated:
		j.stop(&refusedError{Problem{Code: "invalid_api_key", Message: "The API key that the batch was asked for with does not hold any more."}})
	case apierr.PermissionDenied:
		j.stop(&refusedError{Problem{Code: "permission_denied", Message: "The batch's maker may not have batches any more."}})
	default: // it could not be judged
	}
}

// states takes the batch from status to status until it has ended.
func (j *job) states(ctx context.Context) error {
	for {
		var err error
		switch j.batch.Status {
		case Validating:
			err = j.validate(ctx)
		case InProgress:
			err = j.answer(ctx)
		case Finalizing:
			err = j.finish(ctx, Completed, nil)
		case Cancelling:
			err = j.finish(ctx, Cancelled, nil)
		case Failed, Completed, Expired, Cancelled:
			return nil
		}
		var refused *refusedError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errExpired):
			err = j.finish(ctx, Expired, nil)
		case errors.As(err, &refused):
			err = j.finish(ctx, Failed, []Problem{refused.problem})
		}
		switch {
		case errors.Is(err, errCancelled), errors.Is(err, ErrStatus) && j.batch.Status != Cancelling:
			// Nothing but its maker changes the status of a batch that is in hand.
			j.batch.Status = Cancelling
		case err != nil:
			return err
		}
	}
}

// input returns the batch's file, whenever it was to end: one in use is kept.
func (j *job) input(ctx context.Context) (files.File, error) {
	return j.Files.Get(ctx, j.batch.Owner, j.batch.InputFile, time.Time{})
}

// validate looks at the whole file before anything is asked.
func (j *job) validate(ctx context.Context) error {
	f, err := j.input(ctx)
	if errors.Is(err, files.ErrNotFound) {
		return j.finish(ctx, Failed, []Problem{{Code: "file_not_found", Message: "The file of requests is not there any more.", Param: "input_file_id"}})
	}
	if err != nil {
		return err
	}
	total, problems, err := check(j.admit, files.Reader(ctx, j.Files, f), j.batch.Endpoint, j.Config) //nolint:contextcheck // the job's own
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return j.finish(ctx, Failed, problems)
	}
	now := j.Clock.Now()
	if err := j.Store.Begin(ctx, j.lease, total, now); err != nil {
		return err
	}
	j.batch.Status, j.batch.Total, j.batch.InProgressTime = InProgress, total, now
	return nil
}
