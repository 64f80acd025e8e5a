package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/servicecmd"
)

// healthcheckCommand is for container images, which hold no other program that
// could ask.
func (a *app) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "healthcheck URL", Short: "Ask a running platform's /livez or /readyz", Args: exactArgs("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := servicecmd.Healthcheck(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("healthcheck: %w", err)
			}
			return nil
		},
	}
}
