package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
)

// statusPeriod is the time between two looks at a rollout that is watched.
const statusPeriod = time.Second

func (a *app) rolloutsStatusCommand() *cobra.Command {
	watch := false
	c := &cobra.Command{
		Use: "status MODEL ROLLOUT", Short: "Say where a rollout stands; with --watch, until it is over", Args: exactArgs("MODEL", "ROLLOUT"),
		Long: `Says where a rollout stands. With --watch it prints what happens as it happens, and
ends with the rollout: with code 0 when the candidate serves, and with 1 otherwise.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if watch {
				return a.followRollout(cmd.Context(), c, args[0], args[1])
			}
			var r map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, rolloutPath(args[0], args[1]), nil, &r); err != nil {
				return err
			}
			return a.printRollout(r)
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on until the rollout is over")
	return c
}

// followRollout prints every event once and what is waited for whenever it
// changes.
func (a *app) followRollout(ctx context.Context, c *client, model, name string) error {
	seen, waits := 0, ""
	for {
		var r map[string]any
		if err := c.call(ctx, http.MethodGet, rolloutPath(model, name), nil, &r); err != nil {
			return err
		}
		events, err := c.pages(ctx, rolloutPath(model, name, "events"), url.Values{"page_size": {"1000"}}, "events", 0)
		if err != nil {
			return err
		}
		for _, e := range events[min(seen, len(events)):] {
			fmt.Fprintf(a.streams.Out, "%s  %-11s  %s\n", cell(lookup(e, "time")),
				enumWord(lookup(e, "kind"), "ROLLOUT_EVENT_KIND_"), cell(lookup(e, "words")))
			waits = ""
		}
		seen = len(events)
		state := enumWord(r["state"], "ROLLOUT_STATE_")
		switch state {
		case "succeeded":
			return nil
		case "rolled back", "aborted", "failed":
			return fmt.Errorf("the rollout is %s", state)
		}
		if now := cell(lookup(r, "progress.words")); now != waits && now != "-" {
			waits = now
			fmt.Fprintf(a.streams.Out, "    %s, step %s: %s\n", state, stepOf(r), now)
		}
		if err := clock.Sleep(ctx, a.clock, statusPeriod); err != nil {
			return err
		}
	}
}
