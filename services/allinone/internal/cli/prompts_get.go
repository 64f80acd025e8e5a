package cli

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
)

// wholePrompt is a prompt with all that its versions say, the oldest first.
func (a *app) wholePrompt(ctx context.Context, name string) (map[string]any, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if err := c.call(ctx, http.MethodGet, promptPath(name), nil, &out); err != nil {
		return nil, err
	}
	list, err := c.pages(ctx, promptPath(name, "versions"), nil, "versions", 0)
	if err != nil {
		return nil, err
	}
	slices.Reverse(list)
	versions := make([]any, 0, len(list))
	for _, v := range list {
		var version map[string]any
		if err := c.call(ctx, http.MethodGet, promptPath(name, "versions", cell(lookup(v, "number"))), nil, &version); err != nil {
			return nil, err
		}
		versions = append(versions, version)
	}
	out["versions"] = versions
	return out, nil
}

func (a *app) promptsGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get PROMPT", Short: "Show a prompt; with -o yaml all of it, as a document for apply", Args: exactArgs("PROMPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prompt, err := a.wholePrompt(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.printOne("Prompt", prompt, nil)
			}
			return a.printPrompt(prompt)
		},
	}
}

// printPrompt prints a prompt's aliases and versions.
func (a *app) printPrompt(prompt map[string]any) error {
	aliases, _ := prompt["aliases"].([]any)
	of := map[string][]any{}
	for _, alias := range aliases {
		number := cell(lookup(alias, "version"))
		of[number] = append(of[number], lookup(alias, "name"))
	}
	versions, _ := prompt["versions"].([]any)
	rows := make([]any, 0, len(versions))
	for _, v := range slices.Backward(versions) {
		rows = append(rows, map[string]any{
			"prompt": prompt["name"], "number": lookup(v, "number"), "digest": lookup(v, "digest"), "aliases": of[cell(lookup(v, "number"))],
			"created": lookup(v, "create_time"), "description": lookup(v, "description"),
		})
	}
	return a.print(rows, columns("PROMPT prompt", "VERSION number", "ALIASES aliases", "DIGEST digest", "CREATED created", "DESCRIPTION description"))
}

func (a *app) promptsDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe PROMPT", Short: "Tell everything about a prompt, with its recent changes", Args: exactArgs("PROMPT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			prompt, err := a.wholePrompt(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(map[string]any{"resource": prompt}, nil)
			}
			versions, _ := prompt["versions"].([]any)
			delete(prompt, "versions")
			if err := a.printYAML(prompt); err != nil {
				return err
			}
			for _, v := range slices.Backward(versions) {
				a.heading("version %s", cell(lookup(v, "number")))
				if err := a.printYAML(v); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) registryChangesCommand() *cobra.Command {
	var model string
	var limit int
	cmd := &cobra.Command{
		Use: "changes", Short: "List the record of changes, newest first, as far as it is kept", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if model != "" {
				query.Set("model", model)
			}
			items, err := c.pages(cmd.Context(), "/v1/registry/changes", query, "changes", limit)
			if err != nil {
				return err
			}
			return a.print(items, append(columns("MODEL model"), changeColumns()...))
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "only of this model")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0 for all")
	return cmd
}
