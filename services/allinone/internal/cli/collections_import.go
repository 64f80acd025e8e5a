package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
)

func (a *app) importCommand() *cobra.Command {
	var skip int64
	cmd := &cobra.Command{
		Use:   "import COLLECTION FILE",
		Short: "Write any number of documents from a file with one JSON object a line; - for standard input",
		Args:  exactArgs("COLLECTION", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if skip < 0 {
				return usagef("--skip-lines must not be negative")
			}
			in := a.streams.In
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return fmt.Errorf("documents: %w", err)
				}
				defer f.Close()
				in = f
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			run := &importRun{
				client: c, path: joinPath(collectionsPath, args[0], "documents") + ":import",
				input: newImportInput(in, skip), progress: a.newProgress(), wait: importPause, quiet: importQuiet,
			}
			err = run.all(cmd.Context())
			run.progress.end()
			for _, w := range run.warnings {
				run.progress.line("warning: " + w)
			}
			if perr := a.print(run.summary(), columns("SETTLED_LINES settled_lines", "CREATED created", "UPDATED updated", "UNCHANGED unchanged", "FAILED failed")); perr != nil {
				return errors.Join(err, perr)
			}
			if err != nil {
				return fmt.Errorf("%w; to go on: --skip-lines %d", err, run.settled)
			}
			if run.counts["failed"] > 0 {
				return fmt.Errorf("%d documents failed", run.counts["failed"])
			}
			return nil
		},
	}
	cmd.Flags().Int64Var(&skip, "skip-lines", 0, "how many lines are settled and not sent, of an import that broke off")
	return cmd
}

// How an import that was cut off goes on.
const (
	importPause    = time.Second      // before another try; doubled each time
	importMaxPause = 30 * time.Second // at most
	importTries    = 8                // in a row in which nothing is settled
	importQuiet    = time.Minute      // after so much silence the connection is lost
)

// importRun is one import, over as many connections as it takes.
type importRun struct {
	client   *client
	path     string
	input    *importInput
	progress *progress
	wait     time.Duration
	quiet    time.Duration

	settled  int64
	counts   map[string]int64
	warnings []string // of the end
}

// all imports everything, and goes on after what was settled where a connection
// is lost or the gateway asks to come back.
func (r *importRun) all(ctx context.Context) error {
	r.settled, r.counts = r.input.settled, make(map[string]int64)
	pause := r.wait
	for tries := 0; ; {
		before := r.settled
		err := r.connection(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if r.settled > before {
			tries, pause = 0, r.wait
		}
		if tries++; tries == importTries || !worthAnotherTry(err) {
			return err
		}
		r.progress.line(fmt.Sprintf("after line %d: %v; trying again", r.settled, err))
		if e, ok := errors.AsType[*apiError](err); ok && e.RetryAfter > 0 {
			pause = max(pause, e.RetryAfter)
		}
		if err := clock.Sleep(ctx, clock.Real(), pause); err != nil {
			return err
		}
		pause = min(2*pause, importMaxPause)
	}
}

// worthAnotherTry tells what may pass from what the gateway will say again.
func worthAnotherTry(err error) bool {
	if errors.Is(err, errImportInput) {
		return false
	}
	e, ok := errors.AsType[*apiError](err)
	return !ok || e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError && e.Status != http.StatusNotImplemented
}

// errImportLost says that the answer ended before the import.
var errImportLost = errors.New("the connection was lost")

// connection sends what is not settled over one connection.
func (r *importRun) connection(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	body := r.input.from()
	defer body.end()
	url := fmt.Sprintf("%s%s?first_line=%d", r.client.base, r.path, r.settled+1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.NopCloser(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.client.key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	silence := clock.Real().NewTimer(r.quiet)
	defer silence.Stop()
	go func() {
		select {
		case <-silence.C():
			cancel(errImportLost)
		case <-ctx.Done():
		}
	}()
	resp, err := r.client.http.Do(req)
	if err != nil {
		if cause := r.input.failure(); cause != nil {
			return cause
		}
		return fmt.Errorf("the gateway at %s cannot be reached: %w", r.client.base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return decodeError(resp)
	}
	err = r.answers(resp, func() { silence.Reset(r.quiet) })
	if cause := r.input.failure(); cause != nil {
		return cause
	}
	return err
}

func (r *importRun) summary() map[string]any {
	out := map[string]any{"settled_lines": r.settled}
	for _, status := range []string{"created", "updated", "unchanged", "failed"} {
		out[status] = r.counts[status]
	}
	if len(r.warnings) > 0 {
		out["warnings"] = r.warnings
	}
	return out
}
