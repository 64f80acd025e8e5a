package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

const (
	artifactsPath = "/v1/registry/artifacts"
	uploadsPath   = "/v1/registry/uploads"
	// artifactPrefix begins the URI of a file that the registry keeps.
	artifactPrefix = "registry://sha256/"
)

func (a *app) artifactsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "artifacts", Aliases: []string{"artifact"}, Short: "Upload models' files to the registry, and see what it keeps",
		Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		a.artifactsUploadCommand(), a.artifactsListCommand(), a.artifactsDescribeCommand(), a.artifactsDeleteCommand(),
		a.artifactsCollectCommand(), a.artifactsUploadsCommand(), a.artifactsAbortCommand(),
	)
	return cmd
}

func artifactColumns() []column {
	return columns("SHA256 sha256", "SIZE size_bytes", "NAME name", "CREATED create_time", "REFERENCES reference_count", "UNREFERENCED_SINCE unreferenced_since")
}

// artifactPath is where an artifact is; it may be named by its URI too.
func artifactPath(name string) (string, error) {
	sum := strings.TrimPrefix(strings.TrimPrefix(name, artifactPrefix), remotePrefix)
	if !isSHA256(sum) {
		return "", usagef("an artifact is named by 64 hexadecimal digits or by %s and these, got %q", artifactPrefix, name)
	}
	return joinPath(artifactsPath, sum), nil
}

func (a *app) artifactsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the files that the registry keeps", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printPages(cmd.Context(), artifactsPath, "artifacts", artifactColumns())
		},
	}
}

func (a *app) artifactsUploadsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "uploads", Short: "List the uploads that are open", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.printPages(cmd.Context(), uploadsPath, "uploads",
				columns("UPLOAD id", "NAME name", "RECEIVED offset", "SIZE size_bytes", "CREATOR creator", "EXPIRES expire_time"))
		},
	}
}

func (a *app) printPages(ctx context.Context, path, field string, cols []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	list, err := c.pages(ctx, path, nil, field, 0)
	if err != nil {
		return err
	}
	return a.print(list, cols)
}

func (a *app) artifactsDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe SHA256", Aliases: []string{"get"}, Short: "Show a file that the registry keeps, and what refers to it", Args: exactArgs("SHA256"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := artifactPath(args[0])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var artifact map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, path, nil, &artifact); err != nil {
				return err
			}
			if err := a.print(artifact, append(artifactColumns(), columns("CREATOR creator")...)); err != nil {
				return err
			}
			references, ok := artifact["references"].([]any)
			if !ok || len(references) == 0 || a.settings.output != "table" {
				return nil
			}
			fmt.Fprintln(a.streams.Out)
			return a.print(references, columns("MODEL model", "VERSION version", "VARIANT variant"))
		},
	}
}

func (a *app) artifactsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete SHA256", Short: "Delete a file at once, unless a version or variant refers to it", Args: exactArgs("SHA256"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := artifactPath(args[0])
			if err != nil {
				return err
			}
			return a.deleteAt(cmd.Context(), path)
		},
	}
}

func (a *app) artifactsAbortCommand() *cobra.Command {
	return &cobra.Command{
		Use: "abort UPLOAD", Short: "Give an upload up, with all that came of it", Args: exactArgs("UPLOAD"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteAt(cmd.Context(), joinPath(uploadsPath, args[0]))
		},
	}
}

func (a *app) deleteAt(ctx context.Context, path string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil)
}

func (a *app) artifactsCollectCommand() *cobra.Command {
	var dryRun bool
	cmd := &cobra.Command{
		Use: "collect", Short: "Delete the files that nothing has referred to for the grace period", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, artifactsPath+":collect", map[string]any{"dry_run": dryRun}, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			list, ok := out["artifacts"].([]any)
			if !ok {
				list = []any{}
			}
			if err := a.print(list, artifactColumns()); err != nil {
				return err
			}
			what := "deleted"
			if dryRun {
				what = "would be deleted"
			}
			fmt.Fprintf(a.streams.Out, "%.0f files with %.0f bytes %s; %.0f more are not referred to, but not yet for the grace period\n",
				number(out["artifact_count"]), number(out["size_bytes"]), what, number(out["waiting_count"]))
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only tell what would be deleted")
	return cmd
}

// resolveArtifacts completes those artifacts of a specification that are named by
// their URI in the registry alone.
func (c *client) resolveArtifacts(ctx context.Context, spec map[string]any) error {
	list, _ := spec["artifacts"].([]any)
	for _, item := range list {
		artifact, ok := item.(map[string]any)
		if uri, _ := artifact["uri"].(string); !ok || !strings.HasPrefix(uri, artifactPrefix) || artifact["size_bytes"] != nil {
			continue
		}
		path, err := artifactPath(fmt.Sprint(artifact["sha256"]))
		if err != nil {
			return err
		}
		var known map[string]any
		if err := c.call(ctx, http.MethodGet, path, nil, &known); err != nil {
			return err
		}
		artifact["size_bytes"] = known["size_bytes"]
		if name, _ := known["name"].(string); name != "" {
			artifact["name"] = name
		}
	}
	return nil
}
