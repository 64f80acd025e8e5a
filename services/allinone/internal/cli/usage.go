package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

const usagePath = "/v1/admin/usage"

func (a *app) usageCommand() *cobra.Command {
	return group("usage", "What was used, and what it cost", a.usageListCommand(), a.usageOwnCommand(), a.usageExportCommand(), a.usageCheckCommand())
}

// usageFilter is what of the usage is asked for.
type usageFilter struct {
	by                                          []string
	from, to, tenant, key, subject, model, kind string
}

func (f *usageFilter) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.by, "by", []string{"model"}, "by what the sums are: tenant, key, subject, kind, model, version, variant, experiment, arm, and hour, day or month")
	flags.StringVar(&f.from, "from", "", "since when, such as 2026-11-01T00:00:00Z; the beginning of the month when not given")
	flags.StringVar(&f.to, "to", "", "until when; now when not given")
	flags.StringVar(&f.tenant, "tenant", "", "only this tenant")
	flags.StringVar(&f.key, "key", "", "only the API key with this id")
	flags.StringVar(&f.subject, "subject", "", "only this subject")
	flags.StringVar(&f.model, "model", "", "only this model: name or name@v3")
	flags.StringVar(&f.kind, "kind", "", "only generate, embed or rerank")
}

func (f *usageFilter) query() url.Values {
	query := url.Values{}
	for name, value := range map[string]string{
		"from": f.from, "to": f.to, "tenant": f.tenant, "key_id": f.key, "subject": f.subject, "model": f.model, "kind": f.kind,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	query["group_by"] = f.by
	return query
}

// usageColumns shows what the sums are by.
func usageColumns(by []string) []column {
	var out []column
	for _, name := range by {
		switch name {
		case "hour", "day", "month":
			out = append(columns("TIME time"), out...)
		case "key":
			out = append(out, columns("KEY key_id")...)
		default:
			out = append(out, columns(upper(name)+" "+name)...)
		}
	}
	return append(out, columns("REQUESTS requests", "PARTIAL partial_requests", "UNPRICED unpriced_requests", "IN input_tokens", "CACHED cached_tokens", "OUT output_tokens", "REASONING reasoning_tokens", "AUDIO_IN audio_input_tokens", "AUDIO_OUT audio_output_tokens", "DOCUMENTS documents", "COST cost", "HITS cache_hits")...)
}

func upper(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

func (a *app) printUsage(items []any, cols []column) error {
	if a.settings.output == "table" {
		for _, item := range items {
			if row, ok := item.(map[string]any); ok && row["cost"] != nil {
				row["cost"] = money(row["cost"])
			}
		}
	}
	return a.print(items, cols)
}

func (a *app) usageListCommand() *cobra.Command {
	var f usageFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List what was used, in sums", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), usagePath, f.query(), "rows", 0)
			if err != nil {
				return err
			}
			return a.printUsage(items, usageColumns(f.by))
		},
	}
	f.bind(cmd)
	return cmd
}

func (a *app) usageOwnCommand() *cobra.Command {
	return &cobra.Command{
		Use: "own", Short: "Show what you used this month, and the budgets that count it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/usage", nil, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			models, _ := out["models"].([]any)
			if err := a.printUsage(models, usageColumns([]string{"model"})); err != nil {
				return err
			}
			budgets, _ := out["budgets"].([]any)
			if len(budgets) == 0 {
				return nil
			}
			fmt.Fprintln(a.streams.Out)
			return a.printBudgets(budgets)
		},
	}
}

func (a *app) usageExportCommand() *cobra.Command {
	var f usageFilter
	cmd := &cobra.Command{
		Use: "export", Short: "Write what was used as CSV", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			resp, err := c.send(cmd.Context(), http.MethodGet, usagePath+":export?"+f.query().Encode(), nil)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if _, err := io.Copy(a.streams.Out, resp.Body); err != nil {
				return fmt.Errorf("the export is not whole: %w", err)
			}
			return nil
		},
	}
	f.bind(cmd)
	return cmd
}

// errUsage is a ledger that does not add up.
var errUsage = errors.New("the ledger does not add up")

func (a *app) usageCheckCommand() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use: "check", Short: "Add everything up anew from the single requests, and compare", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := make(map[string]any)
			for name, value := range map[string]string{"from": from, "to": to} {
				if value != "" {
					body[name] = value
				}
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, usagePath+":check", body, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				if err := a.print(out, nil); err != nil {
					return err
				}
			} else {
				differences, _ := out["differences"].([]any)
				if len(differences) > 0 {
					if err := a.print(differences, columns("TABLE table", "ROW row", "RECORDED recorded", "COMPUTED computed")); err != nil {
						return err
					}
				}
				fmt.Fprintf(a.streams.Out, "%v requests added up, %v differences\n", cell(out["requests"]), cell(out["difference_count"]))
			}
			if adds, _ := out["adds_up"].(bool); !adds {
				return errUsage
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "since when, to the day; 31 days when not given")
	cmd.Flags().StringVar(&to, "to", "", "until when; now when not given")
	return cmd
}
