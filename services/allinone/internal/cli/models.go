package cli

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const (
	modelsPath = "/v1/registry/models"

	artifactUsage  = "a file the engine needs: [ROLE=]PATH, or [ROLE=]sha256:HEX[:BYTES]@URI for one that workers fetch, or [ROLE=]registry://sha256/HEX for one that was uploaded; may be repeated"
	parameterUsage = "an engine parameter: NAME=VALUE; may be repeated"
)

func (a *app) modelsCommand() *cobra.Command {
	return group("models", "Models, versions, aliases and traffic splits",
		a.modelsListCommand(), a.modelsGetCommand(), a.modelsVersionsCommand(), a.modelsRegisterCommand(), a.modelsVariantsCommand(),
		a.modelsQuantizeCommand(), a.modelsLabelCommand(), a.modelsResultsCommand(), a.modelsDescribeCommand(), a.modelsUpdateCommand(), a.modelsFindCommand(),
		a.modelsUndeleteCommand(), a.modelsVersionCommand(), a.modelsSignCommand(), a.modelsVerifyCommand(), a.modelsKeygenCommand(),
		a.modelsAliasCommand(), a.modelsUnaliasCommand(), a.modelsSplitCommand(), a.modelsUnsplitCommand(), a.modelsDeleteCommand())
}

func (a *app) modelsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the models that can be asked, with what serves them", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), "/v1/models", nil, "data", 0)
			if err != nil {
				return err
			}
			return a.print(items, columns("MODEL id", "TASK task", "STATE state", "VERSION version", "CONTEXT context_length", "ALIASES aliases"))
		},
	}
}

func versionNumber(s string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(s, "v"))
	if err != nil || n < 1 {
		return 0, usagef("a version must be a number from 1, got %q", s)
	}
	return n, nil
}

func modelPath(model string, rest ...string) string {
	return joinPath(modelsPath, append([]string{model}, rest...)...)
}

func joinPath(base string, segments ...string) string {
	for _, s := range segments {
		base += "/" + url.PathEscape(s)
	}
	return base
}
