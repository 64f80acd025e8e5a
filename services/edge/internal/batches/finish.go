package batches

import (
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/files"
)

// finish writes the batch's files and ends it. Files that were written by who was in
// hand of it before are seen by nobody, and are forgotten.
func (j *job) finish(ctx context.Context, status Status, problems []Problem) error {
	r := &report{job: j}
	err := r.write(ctx, status)
	end := Ending{Status: status, Problems: problems, Time: j.Clock.Now()}
	if err == nil {
		end.Output, err = r.finished(ctx, r.output, "_output.jsonl", end.Time)
	}
	if err == nil {
		end.Errors, err = r.finished(ctx, r.errors, "_error.jsonl", end.Time)
	}
	if err == nil {
		err = j.Store.End(ctx, j.lease, end)
	}
	if err != nil {
		r.abandon(ctx)
		return err
	}
	j.batch.Status = status
	return nil
}

// report is a batch's files of results.
type report struct {
	job            *job
	output, errors *files.Writer // nil: there is nothing in it
}

// readResults is how many answers are read at once.
const readResults = 256

func (r *report) write(ctx context.Context, status Status) error {
	j := r.job
	if j.batch.InProgressTime.IsZero() {
		return nil // nothing was asked
	}
	done := make(lineSet)
	for after := int64(0); ; {
		list, err := j.Store.Results(ctx, j.batch.ID, after, readResults)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for _, result := range list {
			done.add(result.Line)
			after = result.Line
			if err := r.add(ctx, result); err != nil {
				return err
			}
		}
	}
	var code, message string
	switch status {
	case Expired:
		code, message = "batch_expired", "This request could not be executed before the completion window expired."
	case Cancelled:
		code, message = "batch_cancelled", "This request was not executed before the batch was cancelled."
	case Failed:
		code, message = "batch_failed", "This request was not executed before the batch failed."
	default: // every line is answered
		return nil
	}
	return r.rest(ctx, done, code, message)
}

// rest says of each line without an answer why it has none.
func (r *report) rest(ctx context.Context, done lineSet, code, message string) error {
	j := r.job
	f, err := j.input(ctx)
	if err != nil {
		return err
	}
	in := newLines(files.Reader(ctx, j.Files, f), j.Config.MaxLineBytes)
	for {
		text, number, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if done.has(number) {
			continue
		}
		if line, problem := decode(text, number, j.batch.Endpoint); problem == nil {
			if err := r.add(ctx, *j.unanswered(line, code, message)); err != nil {
				return err
			}
		}
	}
}

func (r *report) add(ctx context.Context, result Result) error {
	w := &r.errors
	if result.OK {
		w = &r.output
	}
	if *w == nil {
		begun, err := files.NewWriter(ctx, r.job.Files, files.Begin(r.job.batch.Owner, files.NewID(r.job.IDs), r.job.Clock.Now()),
			files.Room{Files: math.MaxInt64, Bytes: math.MaxInt64}, math.MaxInt64)
		if err != nil {
			return err
		}
		*w = begun
	}
	return (*w).Write(ctx, result.Data)
}

// finished returns a file that is whole; nil: there is nothing in it.
func (r *report) finished(ctx context.Context, w *files.Writer, suffix string, now time.Time) (*files.File, error) {
	if w == nil {
		return nil, nil //nolint:nilnil // it is no error
	}
	f, err := w.Finished(ctx)
	if err != nil {
		return nil, err
	}
	ttl := r.job.batch.OutputTTL
	if ttl == 0 {
		ttl = r.job.FileTTL
	}
	f.Filename, f.Purpose, f.CreateTime, f.ExpireTime = r.job.batch.ID+suffix, files.PurposeBatchOutput, now, now.Add(ttl)
	return &f, nil
}

func (r *report) abandon(ctx context.Context) {
	for _, w := range []*files.Writer{r.output, r.errors} {
		if w == nil {
			continue
		}
		if err := w.Abandon(ctx); err != nil {
			r.job.Log.WarnContext(ctx, "a file that was not finished is kept for a day", telemetry.Err(err))
		}
	}
}
