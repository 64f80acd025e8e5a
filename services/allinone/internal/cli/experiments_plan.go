package cli

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) experimentsCreateCommand() *cobra.Command {
	var layer, sticky, description, shadow string
	var share, priority float64
	var who whoFlags
	cmd := &cobra.Command{
		Use:   "create MODEL EXPERIMENT ARM=VERSION[+PROMPT[@VERSION]]:PERCENT...",
		Short: "Create an experiment as a draft; the first arm is the control, and @ALIAS may stand for a version",
		Example: "  poterne experiments create smollm2-135m price control=1:90 candidate=2:10 --sticky session\n" +
			"  poterne experiments create smollm2-135m wording control=1+greeting@v1:50 candidate=1+greeting@v2:50\n" +
			"  poterne experiments create smollm2-135m look --shadow 2:5",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"name": args[1], "description": description, "layer": layer, "priority": int(priority)}
			if share != 0 {
				body["share"] = millionths(share)
			}
			if sticky != "" {
				by, err := stickyBys().name("sticky", sticky)
				if err != nil {
					return err
				}
				body["sticky_by"] = by
			}
			arms, err := parseExperimentArms(args[2:])
			if err != nil {
				return err
			}
			body["arms"] = arms
			if err := who.put(body); err != nil {
				return err
			}
			if shadow != "" {
				copied, err := parseServed(shadow, "share")
				if err != nil {
					return usagef("--shadow must be VERSION:PERCENT or @ALIAS:PERCENT, got %q", shadow)
				}
				body["shadow"] = copied
			}
			return a.callExperiment(cmd, http.MethodPost, modelPath(args[0], "experiments"), body)
		},
	}
	flags := cmd.Flags()
	who.bind(flags)
	flags.StringVar(&layer, "layer", "", "the layer: experiments of one exclude each other")
	flags.Float64Var(&share, "share", 0, "percent of the layer that the experiment takes (all of it)")
	flags.Float64Var(&priority, "priority", 0, "which of several decides: the highest, 0 to 1000")
	flags.StringVar(&sticky, "sticky", "", "what always meets the same arm: user, session, tenant or request (user)")
	flags.StringVar(&description, "description", "", "what it is for")
	flags.StringVar(&shadow, "shadow", "", "a version that gets a copy of some requests: VERSION:PERCENT")
	return cmd
}

// parseExperimentArms reads ARM=VERSION[+PROMPT[@VERSION]]:PERCENT, or @ALIAS for
// the version.
func parseExperimentArms(args []string) ([]any, error) {
	arms := []any{}
	for _, arg := range args {
		name, rest, ok := strings.Cut(arg, "=")
		rest, prompt, err := cutPrompt(rest)
		if err != nil {
			return nil, err
		}
		arm, err := parseServed(rest, "weight")
		if !ok || err != nil {
			return nil, usagef("an arm must be ARM=VERSION:PERCENT or ARM=@ALIAS:PERCENT, got %q", arg)
		}
		if arm["name"] = name; prompt != nil {
			arm["prompt"] = prompt
		}
		arms = append(arms, arm)
	}
	return arms, nil
}

// parseServed reads VERSION:PERCENT or @ALIAS:PERCENT; the percent goes to the
// field as millionths.
func parseServed(text, field string) (map[string]any, error) {
	served, percent, _ := strings.Cut(text, ":")
	share, err := strconv.ParseFloat(strings.TrimSuffix(percent, "%"), 64)
	if err != nil || share < 0 || share > 100 {
		return nil, usagef("a percent must be from 0 to 100, got %q", percent)
	}
	out := map[string]any{field: millionths(share)}
	if alias, ok := strings.CutPrefix(served, "@"); ok {
		out["alias"] = alias
		return out, nil
	}
	number, err := versionNumber(served)
	if err != nil {
		return nil, err
	}
	out["version"] = number
	return out, nil
}

// millionths turns percent into millionths, to four decimals of a percent.
func millionths(percent float64) int { return int(percent*10_000 + 0.5) }

func (a *app) experimentsRampCommand() *cobra.Command {
	var share float64
	cmd := &cobra.Command{
		Use:     "ramp MODEL EXPERIMENT ARM=PERCENT...",
		Short:   "Change weights; the first arm that is not named takes the difference",
		Example: "  poterne experiments ramp smollm2-135m price candidate=25",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			weights := map[string]int{}
			for _, arg := range args[2:] {
				name, percent, ok := strings.Cut(arg, "=")
				weight, err := strconv.ParseFloat(strings.TrimSuffix(percent, "%"), 64)
				if !ok || err != nil || weight < 0 || weight > 100 {
					return usagef("a weight must be ARM=PERCENT, got %q", arg)
				}
				weights[name] = millionths(weight)
			}
			if len(weights) == 0 && share == 0 {
				return usagef("%s needs ARM=PERCENT or --share", cmd.CommandPath())
			}
			body := map[string]any{"etag": "*", "weights": weights, "share": millionths(share)}
			return a.callExperiment(cmd, http.MethodPost, experimentPath(args[0], args[1], "ramp"), body)
		},
	}
	cmd.Flags().Float64Var(&share, "share", 0, "percent of the layer that the experiment takes (as it is)")
	return cmd
}
