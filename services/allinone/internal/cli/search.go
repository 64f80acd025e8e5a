package cli

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func (a *app) searchCommand() *cobra.Command {
	var topK int
	var mode, filter string
	var explain bool
	var fused legs
	cmd := &cobra.Command{
		Use: "search COLLECTION QUERY", Short: "Search a collection", Args: exactArgs("COLLECTION", "QUERY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			body := map[string]any{"query": args[1], "top_k": topK, "mode": mode, "filter": filter, "explain": explain}
			if err := fused.into(body); err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodPost, joinPath(collectionsPath, args[0])+":search", body, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			if warnings, ok := out["warnings"].([]any); ok {
				for _, w := range warnings {
					fmt.Fprintln(a.streams.Err, "warning:", cell(w))
				}
			}
			return a.print(out["hits"], columns("SCORE score", "CHUNK chunk_id", "TITLE title", "TEXT text"))
		},
	}
	f := cmd.Flags()
	f.IntVar(&topK, "top-k", 10, "how many hits")
	f.StringVar(&mode, "mode", "hybrid", "hybrid, lexical or vector")
	f.StringVar(&filter, "filter", "", "an AIP-160 filter over the documents' metadata")
	f.BoolVar(&explain, "explain", false, "tell why hits rank where they do (with -o json)")
	fused.bind(f, "the collection's way")
	return cmd
}
