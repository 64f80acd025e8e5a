package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/worker/sim"
)

// simCommand is the simulated engine, which the worker starts as a process of
// its own also when there is only this binary.
func (a *app) simCommand() *cobra.Command {
	return &cobra.Command{
		Use: "sim", Short: "Run the simulated engine alone (poterne sim --help)",
		// The engine reads its own flags.
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			switch code := sim.Main(args); code {
			case exitDone:
				return nil
			case exitUsage:
				return usageError{simError(code)}
			default:
				return simError(code)
			}
		},
	}
}

type simError int

func (e simError) Error() string {
	return fmt.Sprintf("the simulated engine ended with exit code %d", int(e))
}
