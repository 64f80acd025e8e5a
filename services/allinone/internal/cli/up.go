package cli
import "github.com/spf13/cobra"
func (a *app) upCommand() *cobra.Command { return &cobra.Command{Use: "up"} }
func (a *app) simCommand() *cobra.Command { return &cobra.Command{Use: "sim"} }
