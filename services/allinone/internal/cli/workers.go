package cli

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

const workersPath = "/v1/admin/workers"

func (a *app) workersCommand() *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error {
		workers, err := a.workers(cmd.Context())
		if err != nil {
			return err
		}
		if a.settings.output != "table" {
			return a.print(workers, nil)
		}
		return a.print(modelRows(workers), columns("WORKER worker", "ADDRESS address", "CONNECTED connected", "DRAINING draining",
			"MODEL model.name", "ENGINE model.engine", "STATE model.state", "FETCHED fetched", "ACTIVE model.active", "QUEUED model.queued", "ERROR error"))
	}
	workers := group("workers", "Workers and what they serve", a.workersLiftCommand(), a.workersGetCommand(), &cobra.Command{
		Use: "list", Short: "List the workers that inference sees", Args: noArgs, RunE: list,
		Long: "List the workers that inference sees. An ERROR is its beginning: poterne workers get WORKER and -o json show all of it.",
	})
	workers.RunE = list
	return workers
}

func (a *app) workers(ctx context.Context) ([]any, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	return c.pages(ctx, workersPath, nil, "workers", 0)
}

func (a *app) workersLiftCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lift-quarantine WORKER MODEL-REF", Short: "Let a worker load what failed there again and again",
		Long: "Let a worker load what failed there again and again. MODEL-REF is a model's name for all of its versions that are in quarantine there, " +
			"or name@alias, name@v3 or name@sha256:… for one and its variants.",
		Args: exactArgs("WORKER", "MODEL-REF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			path := joinPath(workersPath, args[0]) + ":liftQuarantine"
			if err := c.call(cmd.Context(), http.MethodPost, path, map[string]any{"model": args[1]}, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			return a.print(out["lifted"], columns("MODEL model", "VERSION version", "DIGEST digest", "ERROR error"))
		},
	}
}

// maxListedError is how many characters of what a model failed with a line of the list
// has room for.
const maxListedError = 72

// modelRows is a row for each model of each worker, and one for a worker that
// has none.
func modelRows(workers []any) []any {
	rows := []any{}
	for _, w := range workers {
		row := func(model any) map[string]any {
			return map[string]any{
				"worker": lookup(w, "state.worker_id"), "address": lookup(w, "address"), "connected": lookup(w, "connected"),
				"draining": lookup(w, "state.draining"), "model": model, "fetched": fetched(lookup(model, "fetch")), "error": shortened(lookup(model, "error"), maxListedError),
			}
		}
		models, _ := lookup(w, "state.models").([]any)
		for _, m := range models {
			rows = append(rows, row(withState(m, lookup(w, "connected") == true)))
		}
		if len(models) == 0 {
			rows = append(rows, row(nil))
		}
	}
	return rows
}

// fetched says how far the fetching of a model's files is, or nothing when none
// are being fetched.
func fetched(progress any) string {
	number := func(key string) float64 { return number(lookup(progress, key)) }
	if progress == nil {
		return ""
	}
	const mib = 1 << 20
	text := fmt.Sprintf("%.0f MiB", number("done_bytes")/mib)
	if total := number("total_bytes"); total > 0 {
		text = fmt.Sprintf("%.0f%% of %.0f MiB", 100*number("done_bytes")/total, total/mib)
	}
	if rate := number("bytes_per_second"); rate > 0 {
		text += fmt.Sprintf(", %.1f MiB/s", rate/mib)
	}
	return text
}

// maxPageSize is the most that the gateway puts on one page.
const maxPageSize = 1000

// withState returns a worker's model with its state as models list says it:
// what a worker that is gone had is not there.
func withState(model any, connected bool) any {
	m, ok := model.(map[string]any)
	if !ok {
		return model
	}
	out := maps.Clone(m)
	state, _ := m["state"].(string)
	out["state"] = strings.ToLower(strings.TrimPrefix(state, "MODEL_STATE_"))
	if !connected {
		out["state"] = "gone"
	}
	return out
}
