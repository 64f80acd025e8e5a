// Package cli is the `poterne` command line: `up` runs everything on one
// machine, the other verbs speak REST to a gateway. It knows the REST contract
// and nothing of how services work; start reading at Main.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
)

// Exit codes of every verb.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// Streams are the terminal's.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// usageError is a wrong command line or a wrong configuration.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what every verb shares.
type app struct {
	streams  Streams
	getenv   func(string) string
	version  string
	settings settings
	clock    clock.Clock
}

// Main runs one command line and returns its exit code: 0 done, 1 failed,
// 2 wrong usage or configuration.
func Main(ctx context.Context, version string, args []string, streams Streams, getenv func(string) string) int {
	a := &app{streams: streams, getenv: getenv, version: version, clock: clock.Real()}
	root := a.root() //nolint:contextcheck // cobra hands the context to the verbs
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if errors.Is(err, errDiffers) {
		return exitFailed
	}
	fmt.Fprintln(streams.Err, "poterne:", err)
	var usage usageError
	var problems config.Errors
	if errors.As(err, &usage) || errors.As(err, &problems) {
		return exitUsage
	}
	return exitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "poterne",
		Short: "One guarded gate in front of your own models, documents and GPUs",
		Long: `poterne runs the whole platform on one machine (poterne up), and is the
client for a gateway that runs anywhere.

The gateway and the key come from --url and --api-key, from POTERNE_URL and
POTERNE_API_KEY, or from a context of the configuration file (poterne context).`,
		Version:       a.version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.streams.In)
	root.SetOut(a.streams.Out)
	root.SetErr(a.streams.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", err, cmd.CommandPath())
	})
	a.settings.bind(root.PersistentFlags())
	root.AddCommand(
		a.upCommand(),
		a.simCommand(), a.healthcheckCommand(),
		a.chatCommand(), a.searchCommand(), a.evalCommand(),
		a.modelsCommand(), a.registryCommand(), a.experimentsCommand(), a.feedbackCommand(), a.bansCommand(), a.cacheCommand(), a.explainCommand(), a.limitsCommand(), a.routesCommand(), a.filesCommand(), a.batchesCommand(), a.nounCommand(versionNoun()), a.aliasesCommand(), a.splitsCommand(), a.promptsCommand(), a.rolloutsCommand(), a.artifactsCommand(),
		a.applyCommand(), a.diffCommand(), a.webhooksCommand(),
		a.collectionsCommand(), a.documentsCommand(),
		a.keysCommand(), a.serviceAccountsCommand(), a.policiesCommand(), a.workersCommand(), a.auditCommand(),
		a.sessionsCommand(), a.conversationsCommand(), a.usageCommand(), a.pricesCommand(), a.budgetsCommand(),
		a.contextCommand(), a.mcpCommand(),
	)
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return usagef("unknown command %q for %q (see %s --help)", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return usagef("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
}

// args wants exactly the named arguments.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return usagef("%s needs %s, got %d argument(s)", cmd.CommandPath(), strings.Join(names, " "), len(args))
		}
		return nil
	}
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usagef("%s needs a verb (see %s --help)", cmd.CommandPath(), cmd.CommandPath())
		},
	}
	c.AddCommand(subs...)
	return c
}
