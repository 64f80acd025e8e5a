package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const (
	promptsPath    = "/v1/registry/prompts"
	maxPromptBytes = 4 << 20
)

func promptPath(prompt string, rest ...string) string {
	return joinPath(promptsPath, append([]string{prompt}, rest...)...)
}

func (a *app) promptsCommand() *cobra.Command {
	return group("prompts", "Prompt templates: versions, aliases, and what they say",
		a.promptsListCommand(), a.promptsCreateCommand(), a.promptsVersionsCommand(), a.promptsAliasCommand(), a.promptsRenderCommand(),
		a.promptsGetCommand(), a.promptsDescribeCommand(), a.promptsUnaliasCommand(), a.promptsHistoryCommand(), a.promptsRollbackCommand())
}

func (a *app) promptsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the prompts", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), promptsPath, nil, "prompts", 0)
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(items, nil)
			}
			for _, item := range items {
				row, _ := item.(map[string]any)
				aliases, _ := row["aliases"].([]any)
				names := make([]any, 0, len(aliases))
				for _, alias := range aliases {
					names = append(names, fmt.Sprintf("%v=%v", lookup(alias, "name"), lookup(alias, "version")))
				}
				row["aliases"] = names
			}
			return a.print(items, columns("PROMPT name", "VERSIONS version_count", "ALIASES aliases", "CHANGED update_time"))
		},
	}
}

func (a *app) promptsCreateCommand() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use: "create PROMPT FILE", Short: "Create a version of a prompt from a JSON file (- for stdin)",
		Long: `Creates a version of a prompt, and the prompt with its first one. The file holds
{"messages": [{"role": "system", "content": "Answer in {{language}}."}],
 "variables": [{"name": "language", "required": true}]}
where contents are mustache templates: {{a}}, {{#a}}if given{{/a}}, {{^a}}if not{{/a}}.
The same content again is the same version.`,
		Args: exactArgs("PROMPT", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := a.streams.In
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return fmt.Errorf("the template: %w", err)
				}
				defer f.Close()
				in = f
			}
			raw, err := io.ReadAll(io.LimitReader(in, maxPromptBytes))
			if err != nil {
				return fmt.Errorf("the template: %w", err)
			}
			if !json.Valid(raw) {
				return usagef("%s is not JSON", args[1])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var version map[string]any
			body := map[string]any{"spec": json.RawMessage(raw), "description": description}
			if err := c.call(cmd.Context(), http.MethodPost, promptPath(args[0], "versions"), body, &version); err != nil {
				return err
			}
			return a.print(version, columns("PROMPT prompt", "VERSION number", "DIGEST digest"))
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what is new")
	return cmd
}

func (a *app) promptsVersionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "versions PROMPT", Short: "List a prompt's versions, newest first", Args: exactArgs("PROMPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), promptPath(args[0], "versions"), nil, "versions", 0)
			if err != nil {
				return err
			}
			return a.print(items, columns("VERSION number", "DIGEST digest", "CREATED create_time", "DESCRIPTION description"))
		},
	}
}

func (a *app) promptsAliasCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "alias PROMPT ALIAS VERSION", Short: "Point an alias of a prompt at a version by number", Args: exactArgs("PROMPT", "ALIAS", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := versionNumber(args[2])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var alias map[string]any
			body := map[string]any{"version": number, "etag": w.etag, "reason": w.reason}
			if err := c.call(cmd.Context(), http.MethodPut, promptPath(args[0], "aliases", args[1]), body, &alias); err != nil {
				return err
			}
			return a.print(alias, columns("PROMPT prompt", "ALIAS name", "VERSION version", "DIGEST digest"))
		},
	})
}

func (a *app) promptsUnaliasCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "unalias PROMPT ALIAS", Short: "Remove an alias of a prompt that no arm names", Args: exactArgs("PROMPT", "ALIAS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"etag": {w.etag}, "reason": {w.reason}}
			return c.call(cmd.Context(), http.MethodDelete, promptPath(args[0], "aliases", args[1])+"?"+query.Encode(), nil, nil)
		},
	})
}

func (a *app) promptsHistoryCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history PROMPT ALIAS", Short: "List the states that an alias of a prompt has had, newest first", Args: exactArgs("PROMPT", "ALIAS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), promptPath(args[0], "aliases", args[1], "history"), nil, "states", limit)
			if err != nil {
				return err
			}
			return a.print(items, columns("REVISION revision", "VERSION version", "TIME create_time", "BY actor", "REASON reason",
				"BACK-TO rollback_to", "DIGEST digest"))
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0 for all")
	return cmd
}

func (a *app) promptsRollbackCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "rollback PROMPT ALIAS REVISION", Short: "Bring back what an alias of a prompt was at a revision",
		Args: exactArgs("PROMPT", "ALIAS", "REVISION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			revision, err := strconv.ParseInt(args[2], 10, 64)
			if err != nil || revision < 1 {
				return usagef("REVISION must be a number from the alias's history, got %q", args[2])
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var answer map[string]any
			body := map[string]any{"revision": revision, "etag": w.etag, "reason": w.reason}
			if err := c.call(cmd.Context(), http.MethodPost, promptPath(args[0], "aliases", args[1])+":rollback", body, &answer); err != nil {
				return err
			}
			if answer["alias"] == nil {
				answer["alias"] = map[string]any{"prompt": args[0], "name": args[1], "version": "(none)"}
			}
			return a.print(answer["alias"], columns("PROMPT prompt", "ALIAS name", "VERSION version", "DIGEST digest"))
		},
	})
}

func (a *app) promptsRenderCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "render PROMPT[@VERSION] [NAME=VALUE...]",
		Short:   "Show what a prompt says with its variables filled in",
		Long:    "Shows a prompt's messages. VERSION is a number (v3), an alias or a digest; without one it is what the alias production names.",
		Example: "  poterne prompts render greeting@v2 name=Ada",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prompt, version, _ := strings.Cut(args[0], "@")
			variables := make(map[string]string, len(args)-1)
			for _, arg := range args[1:] {
				name, value, ok := strings.Cut(arg, "=")
				if !ok {
					return usagef("a variable must be NAME=VALUE, got %q", arg)
				}
				variables[name] = value
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var said map[string]any
			body := map[string]any{"version": version, "variables": variables}
			if err := c.call(cmd.Context(), http.MethodPost, promptPath(prompt)+":render", body, &said); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(said, nil)
			}
			return a.print(said["messages"], columns("ROLE role", "CONTENT content"))
		},
	}
}
