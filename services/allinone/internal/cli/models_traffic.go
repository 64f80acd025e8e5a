package cli

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) modelsAliasCommand() *cobra.Command {
	return &cobra.Command{
		Use: "alias MODEL ALIAS VERSION", Short: "Point an alias at a version by number", Args: exactArgs("MODEL", "ALIAS", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := versionNumber(args[2])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var alias map[string]any
			body := map[string]any{"version": number, "etag": "*"}
			if err := c.call(cmd.Context(), http.MethodPut, modelPath(args[0], "aliases", args[1]), body, &alias); err != nil {
				return err
			}
			id, _ := alias["pending_change"].(string)
			return a.printAlias(cmd.Context(), c, args[0], alias, id)
		},
	}
}

func (a *app) modelsUnaliasCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unalias MODEL ALIAS", Short: "Remove an alias", Args: exactArgs("MODEL", "ALIAS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, modelPath(args[0], "aliases", args[1])+"?etag=*", nil, nil)
		},
	}
}

func (a *app) modelsUnsplitCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unsplit MODEL", Short: "Remove a model's traffic split", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, modelPath(args[0], "split")+"?etag=*", nil, nil)
		},
	}
}

func (a *app) modelsSplitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "split MODEL ARM=VERSION[+PROMPT[@VERSION]]:PERCENT...",
		Short: "Divide a model's traffic among versions, and prompts; without arms, show the split",
		Example: "  poterne models split smollm2-135m control=1:90 candidate=2:10\n" +
			"  poterne models split smollm2-135m short=1+greeting@v1:50 long=1+greeting@production:50",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var split map[string]any
			if len(args) == 1 {
				err = c.call(cmd.Context(), http.MethodGet, modelPath(args[0], "split"), nil, &split)
			} else {
				var arms []any
				if arms, err = parseArms(args[1:]); err != nil {
					return err
				}
				err = c.call(cmd.Context(), http.MethodPut, modelPath(args[0], "split"), map[string]any{"arms": arms, "etag": "*"}, &split)
			}
			if err != nil {
				return err
			}
			return a.printSplit(split)
		},
	}
}

// parseArms reads ARM=VERSION:PERCENT; percents may have up to four decimals.
func parseArms(args []string) ([]any, error) {
	arms := make([]any, 0, len(args))
	total := 0
	for _, arg := range args {
		name, rest, ok1 := strings.Cut(arg, "=")
		rest, prompt, err := cutPrompt(rest)
		if err != nil {
			return nil, err
		}
		version, percent, ok2 := strings.Cut(rest, ":")
		share, err := strconv.ParseFloat(strings.TrimSuffix(percent, "%"), 64)
		if !ok1 || !ok2 || err != nil || share < 0 || share > 100 {
			return nil, usagef("an arm must be ARM=VERSION:PERCENT, got %q", arg)
		}
		number, err := versionNumber(version)
		if err != nil {
			return nil, err
		}
		weight := int(share*10_000 + 0.5)
		total += weight
		arm := map[string]any{"name": name, "version": number, "weight": weight}
		if prompt != nil {
			arm["prompt"] = prompt
		}
		arms = append(arms, arm)
	}
	if total != 1_000_000 {
		return nil, usagef("the arms' percents must add up to 100, they add up to %g", float64(total)/10_000)
	}
	return arms, nil
}
