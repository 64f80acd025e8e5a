package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) searchCommand() *cobra.Command {
	var topK int
	var mode, filter, pageToken string
	var explain, all bool
	var fused legs
	var arranged arrangement
	var asked searchQuestion
	cmd := &cobra.Command{
		Use: "search COLLECTION QUERY", Short: "Search a collection", Args: exactArgs("COLLECTION", "QUERY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{"query": args[1], "top_k": topK, "mode": mode, "filter": filter, "explain": explain}
			if err := errors.Join(fused.into(body), arranged.into(body)); err != nil {
				return err
			}
			asked.into(body)
			if pageToken != "" {
				body["page_token"] = pageToken
			}
			out, err := c.searchPages(cmd.Context(), args[0], body, all)
			if err != nil {
				return err
			}
			return a.printHits(out)
		},
	}
	f := cmd.Flags()
	f.IntVar(&topK, "top-k", 10, "how many hits")
	f.StringVar(&mode, "mode", "hybrid", "hybrid, lexical or vector")
	f.StringVar(&filter, "filter", "", "an AIP-160 filter over the documents' metadata")
	f.BoolVar(&explain, "explain", false, "tell why hits rank where they do (with -o json)")
	f.BoolVar(&arranged.deduplicate, "deduplicate", false, "leave out passages that nearly repeat a better one")
	f.StringVar(&pageToken, "page-token", "", "go on where an answer ended: its next_page_token; everything but --top-k must be as it was")
	f.BoolVar(&all, "all", false, "ask for every page, of --top-k hits each: at most 1000 hits")
	fused.bind(f, "the collection's way")
	arranged.bind(f)
	asked.bind(f)
	return cmd
}

// searchPages searches, and goes on through all pages when it is to: the answer
// is then the first page's with the hits of all.
func (c *client) searchPages(ctx context.Context, collection string, body map[string]any, all bool) (map[string]any, error) {
	var out map[string]any
	for {
		var page map[string]any
		if err := c.call(ctx, http.MethodPost, joinPath(collectionsPath, collection)+":search", body, &page); err != nil {
			return nil, err
		}
		next, _ := page["next_page_token"].(string)
		if out == nil {
			out = page
		} else {
			before, _ := out["hits"].([]any)
			hits, _ := page["hits"].([]any)
			out["hits"], out["next_page_token"] = append(before, hits...), next
		}
		if !all || next == "" {
			return out, nil
		}
		body["page_token"] = next
	}
}

// printHits prints an answer, and for people what they should know besides.
func (a *app) printHits(out map[string]any) error {
	if a.settings.output != "table" {
		return a.print(out, nil)
	}
	warnings, _ := out["warnings"].([]any)
	for _, w := range warnings {
		fmt.Fprintln(a.streams.Err, "warning:", cell(w))
	}
	hits, _ := out["hits"].([]any)
	if err := a.print(hitRows(hits), columns("SCORE score", "CHUNK chunk_id", "TITLE title", "TEXT text")); err != nil {
		return err
	}
	if rows := facetRows(out); len(rows) > 0 {
		if err := a.print(rows, columns("FACET field", "VALUE value", "DOCUMENTS count")); err != nil {
			return err
		}
	}
	if better, _ := out["suggestion"].(string); better != "" {
		fmt.Fprintln(a.streams.Err, "did you mean:", cell(better))
	}
	if next, _ := out["next_page_token"].(string); next != "" {
		fmt.Fprintln(a.streams.Err, "there may be more: --all shows it")
	}
	return nil
}

// How much of a hit a line shows; all of it is there with -o json.
const (
	titleRunes = 50
	textRunes  = 120
)

// hitRows are hits as people read them: a passage may have some hundred words,
// and the widest would make every line as wide.
func hitRows(hits []any) []any {
	rows := make([]any, len(hits))
	for i, h := range hits {
		hit, _ := h.(map[string]any)
		row := map[string]any{"chunk_id": hit["chunk_id"], "title": shortened(hit["title"], titleRunes), "text": shortened(hit["text"], textRunes)}
		if score, ok := hit["score"].(json.Number); ok {
			if x, err := score.Float64(); err == nil {
				row["score"] = strconv.FormatFloat(x, 'f', 4, 64)
			}
		}
		rows[i] = row
	}
	return rows
}

// shortened is a text's first runes, white space between words as one space.
func shortened(v any, most int) string {
	text, _ := v.(string)
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) <= most {
		return string(runes)
	}
	return strings.TrimSpace(string(runes[:most-1])) + "…"
}
