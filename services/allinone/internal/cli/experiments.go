package cli

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) experimentsCommand() *cobra.Command {
	return group("experiments", "Versions of a model tested against each other",
		a.experimentsCreateCommand(), a.experimentsListCommand(), a.experimentsGetCommand(),
		a.experimentsDescribeCommand(), a.experimentsUpdateCommand(), a.experimentsResultsCommand(),
		a.experimentsStartCommand(), a.experimentsRampCommand(), a.experimentsStopCommand(),
		a.experimentsConcludeCommand(), a.experimentsDeleteCommand())
}

func experimentPath(model, experiment, verb string) string {
	path := modelPath(model, "experiments", experiment)
	if verb != "" {
		path += ":" + verb
	}
	return path
}

// printExperiment prints an experiment, and its arms below.
func (a *app) printExperiment(e map[string]any) error {
	if a.settings.output != "table" {
		return a.printOne("Experiment", e, nil)
	}
	rows := []any{}
	arms, _ := e["arms"].([]any)
	for _, arm := range arms {
		rows = append(rows, map[string]any{
			"experiment": lookup(e, "name"), "state": shortState(lookup(e, "state")), "arm": lookup(arm, "name"),
			"serves": servedBy(arm), "prompt": promptOf(arm), "share": armPercent(lookup(arm, "weight")), "winner": lookup(e, "winner"),
		})
	}
	if shadow, ok := e["shadow"].(map[string]any); ok {
		rows = append(rows, map[string]any{
			"experiment": lookup(e, "name"), "state": shortState(lookup(e, "state")), "arm": "(shadow)",
			"serves": servedBy(shadow), "share": armPercent(lookup(shadow, "share")),
		})
	}
	return a.print(rows, columns("EXPERIMENT experiment", "STATE state", "ARM arm", "SERVES serves", "PROMPT prompt", "PERCENT share", "WINNER winner"))
}

// servedBy is what an arm names: a version or an alias.
func servedBy(arm any) any {
	if alias, _ := lookup(arm, "alias").(string); alias != "" {
		return "@" + alias
	}
	return lookup(arm, "version")
}

func shortState(v any) any {
	text, _ := v.(string)
	return strings.ToLower(strings.TrimPrefix(text, "EXPERIMENT_STATE_"))
}

// armPercent writes millionths as percent.
func armPercent(v any) string {
	text, _ := v.(interface{ String() string })
	if text == nil {
		return "0"
	}
	n, err := strconv.ParseFloat(text.String(), 64)
	if err != nil {
		return ""
	}
	return strconv.FormatFloat(n/10_000, 'g', -1, 64)
}

func (a *app) experimentsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list MODEL", Short: "List a model's experiments", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], "experiments"), nil, "experiments", 0)
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(items, nil)
			}
			for _, item := range items {
				e, ok := item.(map[string]any)
				if !ok {
					continue
				}
				e["state"] = shortState(e["state"])
				var arms []string
				list, _ := e["arms"].([]any)
				for _, arm := range list {
					name, _ := lookup(arm, "name").(string)
					arms = append(arms, name+"="+armPercent(lookup(arm, "weight")))
				}
				e["arms"] = strings.Join(arms, " ")
			}
			return a.print(items, columns("EXPERIMENT name", "STATE state", "LAYER layer", "ARMS arms", "WINNER winner", "CREATED create_time"))
		},
	}
}

func (a *app) experimentsGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL EXPERIMENT", Short: "Show an experiment", Args: exactArgs("MODEL", "EXPERIMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callExperiment(cmd, http.MethodGet, experimentPath(args[0], args[1], ""), nil)
		},
	}
}

// callExperiment prints the experiment that is answered.
func (a *app) callExperiment(cmd *cobra.Command, method, path string, body any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var e map[string]any
	if err := c.call(cmd.Context(), method, path, body, &e); err != nil {
		return err
	}
	return a.printExperiment(e)
}

func (a *app) experimentsStartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "start MODEL EXPERIMENT", Short: "Have a draft or a stopped experiment run", Args: exactArgs("MODEL", "EXPERIMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callExperiment(cmd, http.MethodPost, experimentPath(args[0], args[1], "start"), map[string]any{"etag": "*"})
		},
	}
}

func (a *app) experimentsStopCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "stop MODEL EXPERIMENT", Short: "Have an experiment decide nothing for the moment", Args: exactArgs("MODEL", "EXPERIMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callExperiment(cmd, http.MethodPost, experimentPath(args[0], args[1], "stop"), map[string]any{"etag": "*", "reason": reason})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for people")
	return cmd
}

func (a *app) experimentsConcludeCommand() *cobra.Command {
	var winner, reason string
	cmd := &cobra.Command{
		Use: "conclude MODEL EXPERIMENT", Short: "End an experiment for good", Args: exactArgs("MODEL", "EXPERIMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.callExperiment(cmd, http.MethodPost, experimentPath(args[0], args[1], "conclude"),
				map[string]any{"etag": "*", "winner": winner, "reason": reason})
		},
	}
	cmd.Flags().StringVar(&winner, "winner", "", "the arm that won")
	cmd.Flags().StringVar(&reason, "reason", "", "how it ended, for people")
	return cmd
}

func (a *app) experimentsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete MODEL EXPERIMENT", Short: "Delete an experiment that does not run", Args: exactArgs("MODEL", "EXPERIMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, experimentPath(args[0], args[1], "")+"?etag=*", nil, nil)
		},
	}
}
