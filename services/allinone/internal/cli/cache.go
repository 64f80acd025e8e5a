package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

const cachePath = "/v1/admin/cache"

// cacheCommand is about answers that are given again.
func (a *app) cacheCommand() *cobra.Command {
	return group("cache", "Answers that are kept to be given again", a.cacheStatsCommand(), a.cachePurgeCommand())
}

func (a *app) cacheStatsCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "stats", Short: "What the cache of the edge that answers has done since it began", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := cachePath
			if tenant != "" {
				path += "?" + url.Values{"tenant": {tenant}}.Encode()
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print([]any{out}, nil)
			}
			cols := []string{
				"TENANT tenant", "ENABLED enabled", "HITS hits", "STALE stale", "MISSES misses", "BYPASSES bypasses", "RATIO hit_ratio",
				"PROMPT-TOKENS saved_prompt_tokens", "COMPLETION-TOKENS saved_completion_tokens",
			}
			out["hit_ratio"] = percent(out["hit_ratio"])
			all := out["tenant"] == "*"
			if all {
				cols = append(cols, "ENTRIES entries", "BYTES bytes")
			}
			if err := a.print([]any{out}, columns(cols...)); err != nil || all {
				return err
			}
			_, err = fmt.Fprintln(a.streams.Err, "how much memory holds is not counted by tenant: administrators of the platform see it with --tenant '*'")
			return err
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "whose requests; * is all, for administrators of the platform")
	return cmd
}

func (a *app) cachePurgeCommand() *cobra.Command {
	var tenant, model, collection string
	cmd := &cobra.Command{
		Use: "purge", Short: "Have nothing be answered from what was kept until now; every edge knows within a second", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			body := map[string]any{"tenant": tenant, "model": model, "collection": collection}
			if err := c.call(cmd.Context(), http.MethodPost, cachePath+":purge", body, &out); err != nil {
				return err
			}
			a.warn("", out["warnings"])
			return a.print([]any{out}, columns("TENANT tenant", "REVISION revision"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "whose answers; one's own when it is empty, and * is every tenant's")
	f.StringVar(&model, "model", "", "only answers of this model")
	f.StringVar(&collection, "collection", "", "only answers that rest on passages of this collection")
	return cmd
}
