package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
)

// explainCommand tells what became of a request.
func (a *app) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "explain ID", Short: "Explain one request: what each step decided about it, and when",
		Long: "Explain one request, by the x-request-id of its answer or by the id of a model's answer (chatcmpl-…): who asked, what the policy, the limits, " +
			"the cache and the budgets decided, which version and worker answered, what it used, and why it was refused if it was.",
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "" {
				return usagef("the request's id must not be empty")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/requests/"+url.PathEscape(args[0]), nil, &out); err != nil {
				return err
			}
			if asJSON {
				a.settings.output = "json"
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			return errors.Join(a.explainHead(out), a.explainDecisions(out))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON, as --output json does")
	return cmd
}

// explainHead prints who asked for what, and what came of it.
func (a *app) explainHead(r map[string]any) error {
	w := tabwriter.NewWriter(a.streams.Out, 2, 8, 2, ' ', 0)
	line := func(name string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		if len(parts) > 0 {
			fmt.Fprintf(w, "%s\t%s\n", name, strings.Join(parts, "  "))
		}
	}
	line("request", shown(r["id"]), parenthesised(shown(r["method"])))
	state := strings.ReplaceAll(shown(r["state"]), "_", " ")
	line("state", state, shown(r["error_reason"]), "after "+millis(r["duration_ms"]))
	line("time", shown(r["time"]))
	line("caller", named("tenant", r["tenant"]), named("subject", r["subject"]), named("key", r["key_id"]), named("address", r["address"]))
	line("resource", shown(r["resource"]))
	line("policy", shown(r["policy"]), named("rule", r["rule"]))
	line("served by", shown(r["served_by"]), named("experiment", r["experiment"]), named("arm", r["arm"]), named("cache", r["cache"]))
	if number(r["prompt_tokens"])+number(r["completion_tokens"]) > 0 {
		line("tokens", fmt.Sprintf("%.0f prompt, %.0f completion", number(r["prompt_tokens"]), number(r["completion_tokens"])))
	}
	if shown(r["currency"]) != "" {
		line("cost", money(r["cost_micros"]), shown(r["currency"]))
	}
	if number(r["time_to_first_token_ms"]) > 0 {
		line("first token", "after "+millis(r["time_to_first_token_ms"]))
	}
	line("findings", strings.Join(texts(r["findings"]), "; "))
	line("documents", strings.Join(texts(r["documents"]), ", "))
	return w.Flush()
}

// explainDecisions prints a line for each decision, in their order.
func (a *app) explainDecisions(r map[string]any) error {
	list, _ := r["decisions"].([]any)
	if len(list) == 0 {
		_, err := fmt.Fprintln(a.streams.Out, "\nwhat the steps decided is not kept")
		return err
	}
	fmt.Fprintln(a.streams.Out)
	w := tabwriter.NewWriter(a.streams.Out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "AT\tTOOK\tSTEP\tOUTCOME\tFACTS")
	for _, item := range list {
		d, _ := item.(map[string]any)
		var facts []string
		attributes, _ := d["attributes"].([]any)
		for _, item := range attributes {
			fact, _ := item.(map[string]any)
			facts = append(facts, shown(fact["name"])+"="+shown(fact["value"]))
		}
		if detail := shown(d["detail"]); detail != "" {
			facts = append(facts, detail)
		}
		took := "-"
		if number(d["duration_ms"]) > 0 {
			took = millis(d["duration_ms"])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", millis(d["start_ms"]), took, shown(d["step"]), shown(d["outcome"]), strings.Join(facts, "  "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return more(a.streams.Out, number(r["omitted_decisions"]))
}

func more(w io.Writer, n float64) error {
	if n == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "and %.0f decisions more, which are not kept\n", n)
	return err
}

// shown is a text without what would move a terminal's cursor.
func shown(v any) string {
	s, _ := v.(string)
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s)
}

func texts(v any) (out []string) {
	list, _ := v.([]any)
	for _, item := range list {
		out = append(out, shown(item))
	}
	return out
}

func named(name string, v any) string {
	if s := shown(v); s != "" {
		return name + " " + s
	}
	return ""
}

func parenthesised(s string) string {
	if s == "" {
		return ""
	}
	return "(" + strings.TrimPrefix(s, "/") + ")"
}

func millis(v any) string { return strconv.FormatFloat(number(v), 'f', 2, 64) + " ms" }
