package cli

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// rolloutsCreateCommand is `create`, or `plan`, which only says what create would do.
func (a *app) rolloutsCreateCommand(onlyPlan bool) *cobra.Command {
	var (
		candidate, baseline, alias, description, shadow string
		steps, guardrails, labels                       []string
		dryRun                                          bool
	)
	use, short := "create", "Declare how a version takes over; the registry does the rest"
	if onlyPlan {
		use, short = "plan", "Say what create would do, and create nothing"
	}
	c := &cobra.Command{
		Use: use + " MODEL ROLLOUT --candidate VERSION --step PERCENT[,min=DURATION][,requests=N][,deadline=DURATION]...",
		Example: "  poterne rollouts " + use + ` smollm2-135m june --candidate v3 \
    --step 1%,min=10m,requests=1000 --step 5%,min=30m --step 25%,min=1h --step 100%,min=1h \
    --guardrail error_rate,max_relative=0.05 --guardrail latency_p95,max_relative=0.2`,
		Short: short, Args: exactArgs("MODEL", "ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"rollout": args[1]}
			if dryRun || onlyPlan {
				body["validate_only"] = true
			}
			if err := putRolloutFlags(body, candidate, baseline, steps, guardrails, labels); err != nil {
				return err
			}
			if shadow != "" {
				var err error
				if body["shadow"], err = parseShadow(shadow); err != nil {
					return err
				}
			}
			for name, value := range map[string]string{"alias": alias, "description": description} {
				if value != "" {
					body[name] = value
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var r map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, rolloutPath(args[0]), body, &r); err != nil {
				return err
			}
			if a.settings.output == "table" && body["validate_only"] == true {
				return a.printPlan(r)
			}
			return a.printRollout(r)
		},
	}
	f := c.Flags()
	f.StringVar(&candidate, "candidate", "", "the version that shall serve (needed)")
	f.StringVar(&baseline, "baseline", "", "the version that serves now, to be sure of it")
	f.StringVar(&alias, "alias", "", "the alias that names the candidate in the end (production)")
	f.StringVar(&description, "description", "", "what it is for")
	f.StringArrayVar(&steps, "step", nil, "a step: PERCENT[,min=DURATION][,requests=N][,deadline=DURATION]; may be repeated")
	f.StringVar(&shadow, "shadow", "", "copies for the candidate first: PERCENT[,min=DURATION][,requests=N][,deadline=DURATION][,rpm=REQUESTS][,tpm=TOKENS], the last two a minute")
	f.StringArrayVar(&guardrails, "guardrail", nil, "error_rate, latency_p95, cost or feedback [,max_relative=SHARE][,max=BOUND][,alpha=RATE]; may be repeated")
	f.StringArrayVar(&labels, "label", nil, "a label: NAME=VALUE; may be repeated")
	if !onlyPlan {
		f.BoolVar(&dryRun, "dry-run", false, "only say what would happen")
	}
	return c
}

func putRolloutFlags(body map[string]any, candidate, baseline string, steps, guardrails, labels []string) error {
	if candidate == "" {
		return usagef("--candidate is needed")
	}
	number, err := versionNumber(candidate)
	if err != nil {
		return err
	}
	body["candidate"] = number
	if baseline != "" {
		if number, err = versionNumber(baseline); err != nil {
			return err
		}
		body["baseline"] = number
	}
	list := make([]any, 0, len(steps))
	for _, s := range steps {
		step, err := parseStep(s)
		if err != nil {
			return err
		}
		list = append(list, step)
	}
	if len(list) == 0 {
		return usagef("--step is needed")
	}
	body["steps"] = list
	var rails []any
	for _, g := range guardrails {
		rail, err := parseGuardrail(g)
		if err != nil {
			return err
		}
		rails = append(rails, rail)
	}
	if len(rails) > 0 {
		body["guardrails"] = rails
	}
	return putLabels(body, labels)
}

func putLabels(body map[string]any, labels []string) error {
	set := make(map[string]string, len(labels))
	for _, l := range labels {
		name, value, ok := strings.Cut(l, "=")
		if !ok || name == "" {
			return usagef("a label is NAME=VALUE, not %q", l)
		}
		set[name] = value
	}
	if len(set) > 0 {
		body["labels"] = set
	}
	return nil
}

// parseStep reads PERCENT[,min=DURATION][,requests=N][,deadline=DURATION].
func parseStep(text string) (map[string]any, error) {
	first, rest, _ := strings.Cut(text, ",")
	share, err := strconv.ParseFloat(strings.TrimSuffix(first, "%"), 64)
	if err != nil || !(share > 0 && share <= 100) {
		return nil, usagef("a step begins with a percentage up to 100, not %q", first)
	}
	out := map[string]any{"weight": int(share*10_000 + 0.5)}
	err = options(text, rest, func(name, value string) error {
		switch name {
		case "min", "deadline":
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 {
				return usagef("step %q: %s must be a duration such as 10m, not %q", text, name, value)
			}
			field := map[string]string{"min": "min_duration", "deadline": "deadline"}[name]
			out[field] = strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s"
		case "requests":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return usagef("step %q: requests must be a number, not %q", text, value)
			}
			out["min_requests"] = n
		default:
			return usagef("step %q: there is no %q: it may be min, requests or deadline", text, name)
		}
		return nil
	})
	return out, err
}

// parseShadow reads a step with the copies' budget, which each inference replica has.
func parseShadow(text string) (map[string]any, error) {
	var asStep []string
	budget := make(map[string]any)
	for i, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		field := map[string]string{"rpm": "requests_per_minute", "tpm": "tokens_per_minute"}[name]
		if i == 0 || field == "" {
			asStep = append(asStep, part)
			continue
		}
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			return nil, usagef("shadow %q: %s must be a number, not %q", text, name, value)
		}
		budget[field] = n
	}
	out, err := parseStep(strings.Join(asStep, ","))
	maps.Copy(budget, out)
	return budget, err
}

// parseGuardrail reads METRIC[,max_relative=SHARE][,max=BOUND][,alpha=RATE].
func parseGuardrail(text string) (map[string]any, error) {
	metric, rest, _ := strings.Cut(text, ",")
	out := map[string]any{"metric": metric}
	err := options(text, rest, func(name, value string) error {
		x, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return usagef("guardrail %q: %s must be a number, not %q", text, name, value)
		}
		switch name {
		case "max_relative", "max", "alpha":
			out[name] = x
			return nil
		}
		return usagef("guardrail %q: there is no %q: it may be max_relative, max or alpha", text, name)
	})
	return out, err
}

// options hands every NAME=VALUE of a list to each.
func options(whole, list string, each func(name, value string) error) error {
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return usagef("%q: %q is not NAME=VALUE", whole, part)
		}
		if err := each(name, value); err != nil {
			return err
		}
	}
	return nil
}

// printPlan prints what a rollout does, step by step.
func (a *app) printPlan(r map[string]any) error {
	steps, _ := r["steps"].([]any)
	rows := make([]any, 0, len(steps)+1)
	if s, ok := r["shadow"].(map[string]any); ok {
		weight, _ := strconv.ParseFloat(cell(lookup(s, "weight")), 64)
		rows = append(rows, map[string]any{
			"step": "shadow", "candidate": fmt.Sprintf("%g %% copied", weight/10_000), "baseline": "100 %",
			"least": lookup(s, "min_duration"), "requests": lookup(s, "min_requests"), "most": lookup(s, "deadline"),
		})
	}
	for i, s := range steps {
		weight, _ := strconv.ParseFloat(cell(lookup(s, "weight")), 64)
		rows = append(rows, map[string]any{
			"step": i + 1, "candidate": fmt.Sprintf("%g %%", weight/10_000), "baseline": fmt.Sprintf("%g %%", (1_000_000-weight)/10_000),
			"least": lookup(s, "min_duration"), "requests": lookup(s, "min_requests"), "most": lookup(s, "deadline"),
		})
	}
	err := a.print(rows, columns("STEP step", "CANDIDATE candidate", "BASELINE baseline", "LEAST least", "REQUESTS requests", "MOST most"))
	if err != nil {
		return err
	}
	var rails []string
	list, _ := r["guardrails"].([]any)
	for _, g := range list {
		rails = append(rails, cell(lookup(g, "metric")))
	}
	fmt.Fprintf(a.streams.Out, "\nVersion %s takes over from version %s; in the end the alias %s names it.\n",
		cell(r["candidate"]), cell(r["baseline"]), cell(r["alias"]))
	if len(rails) == 0 {
		fmt.Fprintln(a.streams.Out, "No guardrail would roll it back.")
	} else {
		fmt.Fprintf(a.streams.Out, "It is rolled back as soon as one of these is surely broken: %s.\n", strings.Join(rails, ", "))
	}
	fmt.Fprintln(a.streams.Out)
	return nil
}
