package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// registryTarget is where a model is, or with @VERSION (a number or a digest) one
// of its versions.
func registryTarget(reference string) (path string, err error) {
	model, version, given := strings.Cut(reference, "@")
	switch {
	case model == "", given && !versionPattern.MatchString(version):
		return "", usagef("must be MODEL, MODEL@v3 or MODEL@sha256:…, got %q", reference)
	case given:
		return modelPath(model, "versions", version), nil
	}
	return modelPath(model), nil
}

func (a *app) modelsDeleteCommand() *cobra.Command {
	var purge bool
	cmd := &cobra.Command{
		Use: "delete MODEL[@VERSION]", Short: "Delete a model or a version that nothing needs", Args: exactArgs("MODEL[@VERSION]"),
		Long: `Deletes a model, or one of its versions, that no alias and no split needs. For a
while, which the registry's configuration says, undelete restores it; with --purge it
is gone at once.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := registryTarget(args[0])
			if err != nil {
				return err
			}
			if purge {
				path += "?purge=true"
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, path, nil, nil)
		},
	}
	cmd.Flags().BoolVar(&purge, "purge", false, "for good, also when it is deleted already")
	return cmd
}

func (a *app) modelsUndeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "undelete MODEL[@VERSION]", Short: "Restore a model or a version that was deleted", Args: exactArgs("MODEL[@VERSION]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := registryTarget(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, path+":undelete", map[string]any{}, &out); err != nil {
				return err
			}
			return a.print(out, columns("MODEL "+firstKey(out, "model", "name"), "VERSION number", "DIGEST digest"))
		},
	}
}

// firstKey is the first of the names under which there is something.
func firstKey(of map[string]any, names ...string) string {
	for _, name := range names {
		if of[name] != nil {
			return name
		}
	}
	return names[0]
}

func (a *app) modelsDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe MODEL", Short: "Show what the registry knows of a model, with its card", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var m map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, modelPath(args[0]), nil, &m); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(m, nil)
			}
			err = a.print(m, columns("MODEL name", "TASK task", "TENANT tenant", "OWNER owner", "LICENCE licence", "VERSIONS version_count",
				"CREATED create_time", "UPDATED update_time", "LABELS labels"))
			if card, ok := m["card"].(string); ok && card != "" && err == nil {
				fmt.Fprintf(a.streams.Out, "\n%s\n", strings.TrimRight(card, "\n"))
			}
			return err
		},
	}
}
