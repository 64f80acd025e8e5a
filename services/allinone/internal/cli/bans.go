package cli

import (
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

const bansPath = "/v1/admin/bans"

func (a *app) bansCommand() *cobra.Command {
	return group("bans", "Addresses whose requests are refused", a.bansListCommand(), a.bansAddCommand(), a.bansLiftCommand())
}

func (a *app) printBans(bans any) error {
	return a.print(bans, columns("NETWORK network", "UNTIL expire_time", "BY by", "REASON reason"))
}

func (a *app) bansListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the bans that hold, the first to end first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			bans, err := c.pages(cmd.Context(), bansPath, nil, "bans", 0)
			if err != nil {
				return err
			}
			return a.printBans(bans)
		},
	}
}

func (a *app) bansAddCommand() *cobra.Command {
	var duration time.Duration
	var reason string
	cmd := &cobra.Command{
		Use: "add NETWORK --for DURATION --reason TEXT", Short: "Ban an address or a network", Args: exactArgs("NETWORK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			body := map[string]any{"network": args[0], "duration": strconv.FormatFloat(duration.Seconds(), 'f', -1, 64) + "s", "reason": reason}
			if err := c.call(cmd.Context(), http.MethodPost, bansPath, body, &out); err != nil {
				return err
			}
			return a.printBans([]any{out["ban"]})
		},
	}
	cmd.Flags().DurationVar(&duration, "for", time.Hour, "how long, such as 30m or 24h")
	cmd.Flags().StringVar(&reason, "reason", "", "why; others read it")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

func (a *app) bansLiftCommand() *cobra.Command {
	return &cobra.Command{
		Use: "lift NETWORK", Short: "Lift a ban, and forget what led to it", Args: exactArgs("NETWORK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, bansPath+":lift", map[string]any{"network": args[0]}, &out); err != nil {
				return err
			}
			return a.printBans([]any{out["ban"]})
		},
	}
}
