package cli

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) rolloutsCommand() *cobra.Command {
	return group("rollouts", "Rollouts: a new version takes over step by step, or is rolled back by itself",
		a.rolloutsCreateCommand(false), a.rolloutsCreateCommand(true), a.rolloutsGetCommand(), a.rolloutsListCommand(), a.rolloutsDescribeCommand(),
		a.rolloutsEventsCommand(), a.rolloutsStatusCommand(),
		a.rolloutsMoveCommand("pause", "Keep a rollout at its step; its guardrails go on to hold", nil),
		a.rolloutsMoveCommand("resume", "Begin a paused rollout's step anew, whatever somebody else did to the split", nil),
		a.rolloutsForceCommand(),
		a.rolloutsMoveCommand("abort", "End a rollout, and have the version from before serve", nil))
}

func rolloutPath(model string, rest ...string) string {
	return modelPath(model, append([]string{"rollouts"}, rest...)...)
}

// enumWord is an enumeration's value as people read it: ROLLOUT_STATE_RUNNING is
// running.
func enumWord(value any, prefix string) string {
	s, _ := value.(string)
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(s, prefix)), "_", " ")
}

// rolloutRow is a rollout for a table.
func rolloutRow(r any) map[string]any {
	return map[string]any{
		"name": lookup(r, "name"), "state": enumWord(lookup(r, "state"), "ROLLOUT_STATE_"), "step": stepOf(r),
		"candidate": lookup(r, "candidate"), "baseline": lookup(r, "baseline"), "words": lookup(r, "last_event.words"),
		"waits": lookup(r, "progress.words"), "by": lookup(r, "created_by"),
	}
}

func stepOf(r any) string {
	steps, _ := lookup(r, "steps").([]any)
	at := lookup(r, "step")
	if at == nil {
		at = 0 // JSON leaves it out
	}
	return cell(at) + "/" + cell(len(steps))
}

// printRollout prints a rollout, in a table one line of it.
func (a *app) printRollout(r map[string]any) error {
	if a.settings.output != "table" {
		return a.printOne("Rollout", r, nil)
	}
	return a.print(rolloutRow(r), rolloutColumns())
}

func rolloutColumns() []column {
	return columns("ROLLOUT name", "STATE state", "STEP step", "BASELINE baseline", "CANDIDATE candidate", "WAITS waits", "LAST words")
}

func (a *app) rolloutsGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL ROLLOUT", Short: "Show a rollout's plan and where it stands", Args: exactArgs("MODEL", "ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var r map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, rolloutPath(args[0], args[1]), nil, &r); err != nil {
				return err
			}
			if a.settings.output == "table" {
				if err := a.printPlan(r); err != nil {
					return err
				}
			}
			return a.printRollout(r)
		},
	}
}

func (a *app) rolloutsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list MODEL", Short: "List a model's rollouts", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), rolloutPath(args[0]), nil, "rollouts", 0)
			if err != nil || a.settings.output != "table" {
				return firstErr(err, func() error { return a.print(items, nil) })
			}
			rows := make([]any, 0, len(items))
			for _, r := range items {
				rows = append(rows, rolloutRow(r))
			}
			return a.print(rows, columns("ROLLOUT name", "STATE state", "STEP step", "BASELINE baseline", "CANDIDATE candidate", "BY by", "LAST words"))
		},
	}
}

func (a *app) rolloutsEventsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "events MODEL ROLLOUT", Short: "List what happened to a rollout and why, the oldest first", Args: exactArgs("MODEL", "ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), rolloutPath(args[0], args[1], "events"), nil, "events", 0)
			if err != nil || a.settings.output != "table" {
				return firstErr(err, func() error { return a.print(items, nil) })
			}
			rows := make([]any, 0, len(items))
			for _, e := range items {
				rows = append(rows, map[string]any{
					"number": lookup(e, "number"), "time": lookup(e, "time"), "kind": enumWord(lookup(e, "kind"), "ROLLOUT_EVENT_KIND_"),
					"actor": lookup(e, "actor"), "words": lookup(e, "words"), "reason": lookup(e, "reason"),
				})
			}
			return a.print(rows, columns("EVENT number", "TIME time", "WHAT kind", "BY actor", "WHY words", "REASON reason"))
		},
	}
}

func firstErr(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}

func (a *app) rolloutsForceCommand() *cobra.Command {
	step := 0
	c := a.rolloutsMoveCommand("force", "Send a rollout to a later step at once; without --step, to the next", func(body map[string]any) {
		if step > 0 {
			body["step"] = step
		}
	})
	c.Flags().IntVar(&step, "step", 0, "the number of the step; one more than there are is the end")
	return c
}

// rolloutsMoveCommand is a command that moves a rollout.
func (a *app) rolloutsMoveCommand(verb, short string, add func(body map[string]any)) *cobra.Command {
	var etag, reason string
	c := &cobra.Command{
		Use: verb + " MODEL ROLLOUT", Short: short, Args: exactArgs("MODEL", "ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{"etag": etag}
			if reason != "" {
				body["reason"] = reason
			}
			if add != nil {
				add(body)
			}
			var r map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, rolloutPath(args[0], args[1])+":"+verb, body, &r); err != nil {
				return err
			}
			return a.printRollout(r)
		},
	}
	c.Flags().StringVar(&etag, "etag", "*", "the etag that was read; * for whatever is there")
	c.Flags().StringVar(&reason, "reason", "", "why, for people; it is kept with the event")
	return c
}
