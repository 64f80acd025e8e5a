package cli

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// whoFlags say who an experiment is for.
type whoFlags struct {
	targets, overrides []string
}

func (w *whoFlags) bind(f *pflag.FlagSet) {
	f.StringArrayVar(&w.targets, "target", nil,
		"only requests that meet it: tenant=A,B, role=A,B or header:NAME=A,B; != for none of them; may be repeated, all must be met")
	f.StringArrayVar(&w.overrides, "override", nil, "a tester who always meets an arm: TENANT/SUBJECT=ARM; may be repeated")
}

// put sets what was given; what was not stays as it is in body.
func (w *whoFlags) put(body map[string]any) error {
	var conditions, testers []any
	for _, text := range w.targets {
		c, err := parseCondition(text)
		if err != nil {
			return err
		}
		conditions = append(conditions, c)
	}
	for _, text := range w.overrides {
		who, arm, ok := strings.Cut(text, "=")
		tenant, subject, both := strings.Cut(who, "/")
		if !ok || !both || arm == "" {
			return usagef("--override must be TENANT/SUBJECT=ARM, got %q", text)
		}
		testers = append(testers, map[string]any{"tenant": tenant, "subject": subject, "arm": arm})
	}
	if len(conditions) > 0 {
		body["targeting"] = map[string]any{"conditions": conditions}
	}
	if len(testers) > 0 {
		body["overrides"] = testers
	}
	return nil
}

// parseCondition reads tenant=A,B, role!=A or header:x-name=A.
func parseCondition(text string) (map[string]any, error) {
	what, values, ok := strings.Cut(text, "=")
	out := map[string]any{}
	if bare, negated := strings.CutSuffix(what, "!"); negated {
		what, out["negated"] = bare, true
	}
	if header, is := strings.CutPrefix(what, "header:"); is && header != "" {
		what, out["header"] = "header", strings.ToLower(header)
	}
	switch {
	case !ok || values == "":
	case what == "tenant", what == "role", what == "header" && out["header"] != nil:
		out["attribute"], out["values"] = "ATTRIBUTE_"+strings.ToUpper(what), strings.Split(values, ",")
		return out, nil
	}
	return nil, usagef("--target must be tenant=A,B, role=A,B or header:NAME=A,B, or with != in place of =, got %q", text)
}

func (a *app) experimentsUpdateCommand() *cobra.Command {
	var (
		who                                whoFlags
		layer, sticky, description, shadow string
		share, priority                    float64
		noTargets, noOverrides, noShadow   bool
		requestsPerMinute, tokensPerMinute int64
		given                              = func(cmd *cobra.Command, name string) bool { return cmd.Flags().Changed(name) }
	)
	cmd := &cobra.Command{
		Use:   "update MODEL EXPERIMENT [ARM=VERSION:PERCENT...]",
		Short: "Change an experiment; once it was started only description, testers and shadow",
		Long: `Changes what is given and leaves the rest. Of a draft everything changes; of an
experiment that was started only its description, its testers and its shadow, and its
weights and share by ramp.`,
		Example: "  poterne experiments update smollm2-135m price --target role=beta --target 'tenant!=acme' --override default/ana=candidate",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.item(cmd.Context(), experimentPath(args[0], args[1], ""))
			if err != nil {
				return err
			}
			body = planOf(body)
			if len(args) > 2 {
				if body["arms"], err = parseExperimentArms(args[2:]); err != nil {
					return err
				}
			}
			for field, no := range map[string]bool{"targeting": noTargets, "overrides": noOverrides, "shadow": noShadow} {
				if no {
					delete(body, field)
				}
			}
			if err := who.put(body); err != nil {
				return err
			}
			set := func(flag, field string, value any) {
				if given(cmd, flag) {
					body[field] = value
				}
			}
			set("layer", "layer", layer)
			set("description", "description", description)
			set("share", "share", millionths(share))
			set("priority", "priority", int(priority))
			if given(cmd, "sticky") {
				if body["sticky_by"], err = stickyBys().name("sticky", sticky); err != nil {
					return err
				}
			}
			if shadow != "" {
				if body["shadow"], err = parseServed(shadow, "share"); err != nil {
					return usagef("--shadow must be VERSION:PERCENT or @ALIAS:PERCENT, got %q", shadow)
				}
			}
			if copied, ok := body["shadow"].(map[string]any); ok {
				if given(cmd, "shadow-requests-per-minute") {
					copied["requests_per_minute"] = requestsPerMinute
				}
				if given(cmd, "shadow-tokens-per-minute") {
					copied["tokens_per_minute"] = tokensPerMinute
				}
			}
			return a.callExperiment(cmd, http.MethodPut, experimentPath(args[0], args[1], ""), body)
		},
	}
	f := cmd.Flags()
	who.bind(f)
	f.BoolVar(&noTargets, "no-targets", false, "for everybody")
	f.BoolVar(&noOverrides, "no-overrides", false, "without testers")
	f.BoolVar(&noShadow, "no-shadow", false, "without a shadow")
	f.StringVar(&layer, "layer", "", "the layer: experiments of one exclude each other")
	f.Float64Var(&share, "share", 0, "percent of the layer that the experiment takes")
	f.Float64Var(&priority, "priority", 0, "which of several decides: the highest, 0 to 1000")
	f.StringVar(&sticky, "sticky", "", "what always meets the same arm: user, session, tenant or request")
	f.StringVar(&description, "description", "", "what it is for")
	f.StringVar(&shadow, "shadow", "", "a version that gets a copy of some requests: VERSION:PERCENT")
	f.Int64Var(&requestsPerMinute, "shadow-requests-per-minute", 0, "at most so many copies a minute of each replica; 0 is no limit")
	f.Int64Var(&tokensPerMinute, "shadow-tokens-per-minute", 0, "at most so many tokens of copies a minute of each replica; 0 is no limit")
	return cmd
}

// planOf keeps what an update takes, and the etag that was read.
func planOf(experiment map[string]any) map[string]any {
	out := map[string]any{}
	for _, field := range []string{
		"description", "arms", "targeting", "layer", "share", "priority", "sticky_by", "overrides", "shadow", "etag",
	} {
		if value, ok := experiment[field]; ok {
			out[field] = value
		}
	}
	return out
}

func (a *app) experimentsResultsCommand() *cobra.Command {
	var flags resultsFlags
	cmd := &cobra.Command{
		Use: "results MODEL EXPERIMENT", Short: "Show what the requests of each arm came to, with intervals that hold at every look",
		Args: exactArgs("MODEL", "EXPERIMENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.results(cmd, modelPath(args[0], "experiments", args[1], "results")+flags.query())
		},
	}
	flags.add(cmd)
	return cmd
}

// experimentsDescribeCommand shows an experiment, what it came to, and what happened.
func (a *app) experimentsDescribeCommand() *cobra.Command {
	return a.nounDescribeCommand(noun{segment: "experiments", argument: "EXPERIMENT"})
}

func (a *app) rolloutsDescribeCommand() *cobra.Command {
	return a.nounDescribeCommand(noun{segment: "rollouts", argument: "ROLLOUT"})
}
