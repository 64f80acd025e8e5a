package cli

import (
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *app) splitsCommand() *cobra.Command {
	set := a.modelsSplitCommand()
	set.Use, set.Args = "set MODEL ARM=VERSION:PERCENT...", cobra.MinimumNArgs(2)
	set.Short, set.Example = "Divide a model's traffic among versions", "  poterne splits set smollm2-135m control=1:90 candidate=2:10"
	remove := a.modelsUnsplitCommand()
	remove.Use = "delete MODEL"
	return group("splits", "Splits: how a model's traffic is divided, and how it was",
		a.splitsGetCommand(), a.splitsDescribeCommand(), set, remove, a.splitsHistoryCommand(), a.splitsRollbackCommand())
}

func (a *app) splitsGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL", Short: "Show a model's split", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			split, err := a.item(cmd.Context(), modelPath(args[0], "split"))
			if err != nil {
				return err
			}
			return a.printSplit(split)
		},
	}
}

// printSplit prints a split, in a table its arms.
func (a *app) printSplit(split map[string]any) error {
	if a.settings.output != "table" {
		return a.printOne("Split", split, nil)
	}
	arms, _ := split["arms"].([]any)
	for _, arm := range arms {
		if row, ok := arm.(map[string]any); ok {
			row["prompt"] = promptOf(row)
		}
	}
	return a.print(split["arms"], columns("ARM name", "VERSION version", "PROMPT prompt", "MILLIONTHS weight", "DIGEST digest"))
}

func (a *app) splitsDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe MODEL", Short: "Tell everything about a split, with its newest states", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			split, err := a.item(cmd.Context(), modelPath(args[0], "split"))
			if err != nil {
				return err
			}
			states, err := a.splitStates(cmd, args[0], shownAtMost)
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(map[string]any{"resource": split, "states": states}, nil)
			}
			if err := a.printYAML(split); err != nil {
				return err
			}
			a.heading("states")
			return a.printSplitStates(states)
		},
	}
}

func (a *app) splitStates(cmd *cobra.Command, model string, limit int) ([]any, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	return c.pages(cmd.Context(), modelPath(model, "split", "history"), nil, "states", limit)
}

func (a *app) splitsHistoryCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history MODEL", Short: "List the states that a model's split has had, newest first", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			states, err := a.splitStates(cmd, args[0], limit)
			if err != nil {
				return err
			}
			return a.printSplitStates(states)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0 for all")
	return cmd
}

func (a *app) printSplitStates(states []any) error {
	if a.settings.output != "table" {
		return a.print(states, nil)
	}
	rows := make([]any, 0, len(states))
	for _, s := range states {
		arms := []any{}
		list, _ := lookup(s, "arms").([]any)
		for _, arm := range list {
			arms = append(arms, cell(lookup(arm, "name"))+"=v"+cell(lookup(arm, "version"))+":"+armPercent(lookup(arm, "weight"))+"%")
		}
		rows = append(rows, map[string]any{
			"revision": lookup(s, "revision"), "arms": arms, "time": lookup(s, "create_time"), "actor": lookup(s, "actor"),
			"reason": lookup(s, "reason"), "rollback_to": lookup(s, "rollback_to"),
		})
	}
	return a.print(rows, columns("REVISION revision", "ARMS arms", "TIME time", "BY actor", "REASON reason", "BACK-TO rollback_to"))
}

func (a *app) splitsRollbackCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "rollback MODEL REVISION", Short: "Bring back what a model's split was at a revision, with its salt",
		Args: exactArgs("MODEL", "REVISION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			revision, err := strconv.ParseInt(args[1], 10, 64)
			if err != nil || revision < 1 {
				return usagef("REVISION must be a number from the split's history, got %q", args[1])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var answer map[string]any
			body := map[string]any{"revision": revision, "etag": w.etag, "reason": w.reason}
			if err := c.call(cmd.Context(), http.MethodPost, modelPath(args[0], "split")+":rollback", body, &answer); err != nil {
				return err
			}
			split, ok := answer["split"].(map[string]any)
			if !ok {
				return a.print([]any{}, columns("ARM name", "VERSION version", "MILLIONTHS weight", "DIGEST digest"))
			}
			return a.printSplit(split)
		},
	})
}
