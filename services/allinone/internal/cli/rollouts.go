package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
)

func rolloutNoun() noun {
	return noun{
		"rollouts", "Rollouts: plans by which a version takes over a model's traffic", "rollouts", "rollouts", "ROLLOUT",
		columns("MODEL model", "ROLLOUT name", "STATE state", "STEP step", "WHY last_event.words", "UPDATED update_time"),
	}
}

func (a *app) rolloutsCommand() *cobra.Command {
	return a.nounCommand(rolloutNoun(), a.rolloutStatusCommand())
}

// rolloutPoll is the time between two looks at a rollout that is watched.
const rolloutPoll = 2 * time.Second

func (a *app) rolloutStatusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "status MODEL ROLLOUT", Short: "Show where a rollout stands; with --watch, until it is over",
		Long: `Shows where a rollout stands. With --watch it prints a line whenever that changes,
until the rollout is over: the exit code is 0 when the candidate serves then, and 1
when the rollout was rolled back, aborted, or failed.`,
		Args: exactArgs("MODEL", "ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := modelPath(args[0], "rollouts", args[1])
			if !watch {
				item, err := a.item(cmd.Context(), path)
				if err != nil {
					return err
				}
				return a.print(shortRollout(item), rolloutNoun().columns)
			}
			return a.watchRollout(cmd.Context(), path)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on until it is over")
	return cmd
}

// shortRollout writes the state as people do.
func shortRollout(item map[string]any) map[string]any {
	const prefix = len("ROLLOUT_STATE_")
	if state, ok := item["state"].(string); ok && len(state) > prefix {
		item["state"] = state[prefix:]
	}
	return item
}

func (a *app) watchRollout(ctx context.Context, path string) error {
	last := ""
	for {
		item, err := a.item(ctx, path)
		switch {
		case hasServerError(err):
			fmt.Fprintln(a.streams.Err, "poterne:", err) // it may be back
		case err != nil:
			return err
		default:
			item = shortRollout(item)
			state := cell(item["state"])
			line := fmt.Sprintf("%s %s step %s", cell(item["name"]), state, cell(item["step"]))
			if why := cell(lookup(item, "last_event.words")); why != "-" {
				line += ": " + why
			}
			if line != last {
				fmt.Fprintln(a.streams.Out, line)
				last = line
			}
			if slices.Contains([]string{"ROLLED_BACK", "ABORTED", "FAILED"}, state) {
				return fmt.Errorf("the rollout ended: %s", state)
			}
			if state == "SUCCEEDED" {
				return nil
			}
		}
		if err := clock.Sleep(ctx, a.clock, rolloutPoll); err != nil {
			return err
		}
	}
}
