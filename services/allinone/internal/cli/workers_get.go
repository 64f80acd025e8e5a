package cli

import (
	"fmt"
	"maps"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *app) workersGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get WORKER", Short: "Show a worker's memory, its GPUs, and what each engine says of itself", Args: exactArgs("WORKER"),
		RunE: func(cmd *cobra.Command, args []string) error {
			workers, err := a.workers(cmd.Context())
			if err != nil {
				return err
			}
			for _, w := range workers {
				if lookup(w, "state.worker_id") != args[0] {
					continue
				}
				if a.settings.output != "table" {
					return a.print(w, nil)
				}
				return a.printWorker(w)
			}
			return fmt.Errorf("there is no worker %q (see poterne workers)", args[0])
		},
	}
}

// printWorker prints a worker in tables: itself, its memory, its GPUs and its
// models.
func (a *app) printWorker(w any) error {
	type table struct {
		rows []any
		cols []column
	}
	tables := []table{
		{[]any{w}, columns("WORKER state.worker_id", "ADDRESS address", "CONNECTED connected", "DRAINING state.draining",
			"IN-FLIGHT state.in_flight", "ENGINES state.engines", "BUILD state.agent_version")},
		{
			sized(lookup(w, "state.memory"), "total_bytes", "used_bytes", "free_bytes", "evictable_bytes"),
			columns("MEMORY id", "TOTAL total_bytes", "USED used_bytes", "FREE free_bytes", "EVICTABLE evictable_bytes"),
		},
		{
			sized(lookup(w, "state.gpus"), "memory_total_bytes", "memory_used_bytes", "memory_free_bytes"),
			columns("GPU pool", "NAME name", "TOTAL memory_total_bytes", "USED memory_used_bytes", "FREE memory_free_bytes",
				"BUSY% utilization_percent", "CELSIUS temperature_celsius", "ECC-ERRORS ecc_errors", "PROBLEM problem"),
		},
		{loadRows(w), columns("MODEL name", "ENGINE engine", "STATE state", "MEMORY memory_bytes", "SLOTS slots", "ACTIVE active",
			"QUEUED queued", "KV kv_cache_usage", "PREFIX-HITS prefix_cache_hit_rate", "PROMPT-TOK/S prompt_tokens_per_second",
			"TOK/S generation_tokens_per_second", "RESTARTS restarts", "PINNED pinned", "LAST-USED last_used_time", "ERROR error")},
	}
	for i, t := range tables {
		if len(t.rows) == 0 {
			continue
		}
		if i > 0 {
			fmt.Fprintln(a.streams.Out)
		}
		if err := a.print(t.rows, t.cols); err != nil {
			return err
		}
	}
	return nil
}

// loadRows are the worker's models, with what their engines say of themselves.
// What an engine does not tell has no figure.
func loadRows(w any) []any {
	rows := sized(lookup(w, "state.models"), "memory_bytes")
	for i, one := range rows {
		row, ok := withState(one, lookup(w, "connected") == true).(map[string]any)
		if !ok {
			continue
		}
		for _, share := range []string{"kv_cache_usage", "prefix_cache_hit_rate"} {
			row[share] = percent(row[share])
		}
		for _, rate := range []string{"prompt_tokens_per_second", "generation_tokens_per_second"} {
			if row[rate] != nil {
				row[rate] = strconv.FormatFloat(number(row[rate]), 'f', 1, 64)
			}
		}
		rows[i] = row
	}
	return rows
}

// sized copies a list of objects with the named members written as sizes.
func sized(list any, members ...string) []any {
	items, _ := list.([]any)
	out := make([]any, 0, len(items))
	for _, item := range items {
		object, _ := item.(map[string]any)
		row := make(map[string]any, len(object))
		maps.Copy(row, object)
		for _, m := range members {
			row[m] = size(row[m])
		}
		out = append(out, row)
	}
	return out
}
