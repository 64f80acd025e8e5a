package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
)

func (a *app) batchesCreateCommand() *cobra.Command {
	var endpoint string
	var notes []string
	var wait bool
	cmd := &cobra.Command{
		Use: "create FILE_ID --endpoint PATH", Short: "Have a file's requests answered", Args: exactArgs("FILE_ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			metadata := make(map[string]string)
			for _, note := range notes {
				key, value, ok := strings.Cut(note, "=")
				if !ok {
					return usagef("--metadata must be KEY=VALUE, got %q", note)
				}
				metadata[key] = value
			}
			body := map[string]any{"input_file_id": args[0], "endpoint": endpoint, "completion_window": "24h", "metadata": metadata}
			if !wait {
				return a.callAndPrint(cmd.Context(), http.MethodPost, batchesPath, body, batchColumns)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, batchesPath, body, &out); err != nil {
				return err
			}
			id, _ := out["id"].(string)
			return a.waitForBatch(cmd.Context(), c, id)
		},
	}
	cmd.Flags().StringVar(&endpoint, "endpoint", "/v1/chat/completions", "the path that every request in it is for")
	cmd.Flags().StringArrayVar(&notes, "metadata", nil, "a note of your own, KEY=VALUE; may be repeated")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended")
	return cmd
}

func (a *app) batchesWaitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wait BATCH", Short: "Wait until a batch has ended; fails unless it is completed", Args: exactArgs("BATCH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.waitForBatch(cmd.Context(), c, args[0])
		},
	}
}

// The pauses between two looks at a batch.
const (
	firstLook = 250 * time.Millisecond
	lastLook  = 10 * time.Second
)

var errNotCompleted = errors.New("the batch is not completed")

func (a *app) waitForBatch(ctx context.Context, c *client, id string) error {
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		var out map[string]any
		if err := c.call(ctx, http.MethodGet, joinPath(batchesPath, id), nil, &out); err != nil {
			return err
		}
		status, _ := out["status"].(string)
		if slices.Contains([]string{"completed", "failed", "expired", "cancelled"}, status) {
			err := a.print(out, batchColumns())
			if status != "completed" {
				a.tellProblems(out)
				err = errors.Join(err, errNotCompleted)
			}
			return err
		}
		if err := clock.Sleep(ctx, clock.Real(), pause); err != nil {
			return err
		}
	}
}

// tellProblems says what was wrong with a batch, line by line.
func (a *app) tellProblems(batch map[string]any) {
	list, _ := lookup(batch, "errors.data").([]any)
	for _, p := range list {
		if line := lookup(p, "line"); line != nil {
			_, _ = fmt.Fprintf(a.streams.Err, "line %s: ", cell(line))
		}
		_, _ = fmt.Fprintln(a.streams.Err, cell(lookup(p, "message")))
	}
}

func (a *app) batchesCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel BATCH", Short: "End a batch; what is answered is in its files", Args: exactArgs("BATCH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callAndPrint(cmd.Context(), http.MethodPost, joinPath(batchesPath, args[0])+"/cancel", map[string]any{}, batchColumns)
		},
	}
}
