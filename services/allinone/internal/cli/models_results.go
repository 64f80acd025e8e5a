package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// resultsFlags are what both commands for results take.
type resultsFlags struct {
	baseline, since    string
	alpha, maxRelative float64
	minRequests        int64
}

func (f *resultsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.baseline, "baseline", "", "the arm to compare with (default: the one with the most requests)")
	cmd.Flags().StringVar(&f.since, "since", "", "leave out what was before, such as 2030-01-02T03:04:05Z")
	cmd.Flags().Float64Var(&f.alpha, "alpha", 0, "how often an interval may be wrong, over all looks (default 0.05)")
	cmd.Flags().Float64Var(&f.maxRelative, "max-relative", 0, "by which share an arm may be worse (default 0.05, below 0: not at all)")
	cmd.Flags().Int64Var(&f.minRequests, "min-requests", 0, "how many requests each arm needs for a verdict (default 1000)")
}

func (f *resultsFlags) query() string {
	q := url.Values{}
	set := func(name, value string, given bool) {
		if given {
			q.Set(name, value)
		}
	}
	set("baseline", f.baseline, f.baseline != "")
	set("since", f.since, f.since != "")
	set("alpha", strconv.FormatFloat(f.alpha, 'g', -1, 64), f.alpha != 0)
	set("max_relative", strconv.FormatFloat(f.maxRelative, 'g', -1, 64), f.maxRelative != 0)
	set("min_requests", strconv.FormatInt(f.minRequests, 10), f.minRequests != 0)
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

func (a *app) modelsResultsCommand() *cobra.Command {
	var flags resultsFlags
	var experiment string
	cmd := &cobra.Command{
		Use: "results MODEL", Short: "Show what the requests of each arm came to, with intervals that hold at every look",
		Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := modelPath(args[0], "results")
			if experiment != "" {
				path = modelPath(args[0], "experiments", experiment, "results")
			}
			return a.results(cmd, path+flags.query())
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&experiment, "experiment", "", "an experiment (default: the model's plain split)")
	return cmd
}

func (a *app) results(cmd *cobra.Command, path string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var results map[string]any
	if err := c.call(cmd.Context(), http.MethodGet, path, nil, &results); err != nil {
		return err
	}
	if a.settings.output != "table" {
		return a.print(results, nil)
	}
	if err := a.print(resultRows(results), columns("ARM arm", "VERSION version", "REQUESTS requests", "METRIC metric",
		"VALUE value", "LOWER lower", "UPPER upper", "EFFECT effect", "FROM from", "TO to")); err != nil {
		return err
	}
	fmt.Fprintln(a.streams.Out)
	if err := a.print(results, columns("VERDICT verdict", "WHY words")); err != nil {
		return err
	}
	if ratio, ok := results["sample_ratio"].(map[string]any); ok {
		fmt.Fprintln(a.streams.Out)
		return a.print(ratioRow(ratio), columns("SUBJECTS subjects", "RATIO state", "P-VALUE p", "WHY words"))
	}
	return nil
}

// ratioRow says whether subjects fall into the arms as they should.
func ratioRow(ratio map[string]any) map[string]any {
	out := map[string]any{"subjects": ratio["subjects"], "state": "as the weights say", "p": figure(ratio["p_value"]), "words": ratio["words"]}
	switch {
	case ratio["mismatch"] == true:
		out["state"] = "mismatch"
	case cell(ratio["subjects"]) == "-":
		out["state"] = "no subjects seen"
	}
	return out
}

// resultRows has one row for each quantity of each arm.
func resultRows(results map[string]any) []any {
	rows := []any{}
	list := func(v any, path string) []any { l, _ := lookup(v, path).([]any); return l }
	for _, arm := range list(results, "arms") {
		effects := make(map[any]any)
		for _, e := range list(arm, "effects") {
			effects[lookup(e, "metric")] = e
		}
		for i, e := range list(arm, "estimates") {
			effect := effects[lookup(e, "metric")]
			row := map[string]any{
				"metric": lookup(e, "metric"), "value": figure(lookup(e, "value")),
				"lower": figure(lookup(e, "lower")), "upper": figure(lookup(e, "upper")),
				"effect": percent(lookup(effect, "value")), "from": percent(lookup(effect, "lower")), "to": percent(lookup(effect, "upper")),
			}
			if i == 0 {
				row["arm"], row["version"], row["requests"] = lookup(arm, "arm"), lookup(arm, "version"), lookup(arm, "sums.requests")
			} else {
				row["arm"], row["version"], row["requests"] = " ", " ", " "
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// figure shortens a number.
func figure(v any) any {
	if v == nil {
		return nil
	}
	return strconv.FormatFloat(number(v), 'g', 4, 64)
}
