package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

func (a *app) aliasesCommand() *cobra.Command {
	return a.nounCommand(aliasNoun(), a.aliasesSetCommand(), a.aliasesDeleteCommand(), a.aliasesHistoryCommand(),
		a.aliasesRollbackCommand(), a.aliasesRequestsCommand(), a.aliasesDecideCommand("approve", "Make a change that another asked for"),
		a.aliasesDecideCommand("reject", "Reject a change, or withdraw your own"), a.aliasesProtectCommand())
}

// wish is what the verbs that change an alias are given besides it.
type wish struct{ etag, reason string }

func (w *wish) bind(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&w.etag, "etag", "*", "change it only while it has this etag; empty: only while it is not there")
	cmd.Flags().StringVar(&w.reason, "reason", "", "why, for the history")
	return cmd
}

func (a *app) aliasesSetCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "set MODEL ALIAS VERSION", Aliases: []string{"request"},
		Short: "Point an alias at a version; if it is protected, ask for that",
		Long: `Points an alias at a version by its number. A protected alias stays as it is:
this asks for the change, and tells the id by which another approves it
(poterne aliases approve).`,
		Example: "  poterne aliases set acme-chat production 7 --reason 'better in every evaluation'",
		Args:    exactArgs("MODEL", "ALIAS", "VERSION"),
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
			if err := c.call(cmd.Context(), http.MethodPut, modelPath(args[0], "aliases", args[1]), body, &alias); err != nil {
				return err
			}
			id, _ := alias["pending_change"].(string)
			return a.printAlias(cmd.Context(), c, args[0], alias, id)
		},
	})
}

// printAlias writes an alias and says on the terminal what still waits.
func (a *app) printAlias(ctx context.Context, c *client, model string, alias any, pending string) error {
	if pending != "" {
		var change map[string]any
		if err := c.call(ctx, http.MethodGet, modelPath(model, "alias-changes", pending), nil, &change); err != nil {
			return err
		}
		fmt.Fprintf(a.streams.Err, "It is protected and stays as it is until another approves: poterne aliases approve %s %s\n", model, pending)
		return a.print(change, aliasChangeColumns())
	}
	cols := columns("MODEL model", "ALIAS name", "VERSION version", "DIGEST digest")
	if of, ok := alias.(map[string]any); ok {
		return a.printOne("Alias", of, cols)
	}
	return a.print(alias, cols)
}

func aliasChangeColumns() []column {
	return columns("CHANGE id", "ALIAS alias", "FROM from_version 0", "TO to_version 0", "STATE state ALIAS_CHANGE_STATE_", "BY requested_by",
		"REASON reason", "DECIDED decided_by", "EXPIRES expire_time")
}

func (a *app) aliasesDeleteCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "delete MODEL ALIAS", Short: "Remove an alias; if it is protected, ask for that", Args: exactArgs("MODEL", "ALIAS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"etag": {w.etag}, "reason": {w.reason}}
			var answer map[string]any
			if err := c.call(cmd.Context(), http.MethodDelete, modelPath(args[0], "aliases", args[1])+"?"+query.Encode(), nil, &answer); err != nil {
				return err
			}
			if id, ok := lookup(answer, "change.id").(string); ok {
				return a.printAlias(cmd.Context(), c, args[0], nil, id)
			}
			return nil
		},
	})
}

func (a *app) aliasesHistoryCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history MODEL ALIAS", Short: "List the states that an alias has had, newest first", Args: exactArgs("MODEL", "ALIAS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], "aliases", args[1], "history"), nil, "states", limit)
			if err != nil {
				return err
			}
			return a.print(items, columns("REVISION revision", "VERSION version 0", "TIME create_time", "BY actor", "ASKED requested_by",
				"REASON reason", "CHANGE change", "BACK-TO rollback_to 0", "DIGEST digest"))
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0 for all")
	return cmd
}

func (a *app) aliasesRollbackCommand() *cobra.Command {
	var w wish
	return w.bind(&cobra.Command{
		Use: "rollback MODEL ALIAS REVISION", Short: "Bring back what an alias was at a revision; if it is protected, ask for that",
		Args: exactArgs("MODEL", "ALIAS", "REVISION"),
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
			if err := c.call(cmd.Context(), http.MethodPost, modelPath(args[0], "aliases", args[1])+":rollback", body, &answer); err != nil {
				return err
			}
			id, _ := lookup(answer, "change.id").(string)
			return a.printAlias(cmd.Context(), c, args[0], answer["alias"], id)
		},
	})
}

func (a *app) aliasesRequestsCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "requests MODEL", Short: "List the changes that wait for an approval", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if !all {
				query.Set("pending", "true")
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], "alias-changes"), query, "changes", 0)
			if err != nil {
				return err
			}
			return a.print(items, aliasChangeColumns())
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are decided")
	return cmd
}

func (a *app) aliasesDecideCommand(verb, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: verb + " MODEL CHANGE", Short: short, Args: exactArgs("MODEL", "CHANGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var change map[string]any
			path := modelPath(args[0], "alias-changes", args[1]) + ":" + verb
			if err := c.call(cmd.Context(), http.MethodPost, path, map[string]any{"reason": reason}, &change); err != nil {
				return err
			}
			return a.print(change, aliasChangeColumns())
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return cmd
}

func (a *app) aliasesProtectCommand() *cobra.Command {
	var (
		w    wish
		none bool
	)
	cmd := w.bind(&cobra.Command{
		Use:   "protect MODEL [PATTERN...]",
		Short: "Show which of a model's aliases are protected, or set them",
		Long: `Without patterns, shows which aliases of the model change only when another
subject approves it. With patterns (* stands for any characters), sets the model's
own; one that is left out is given up when another approves that.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if none && len(args) > 1 {
				return usagef("--none takes no patterns")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			protection, path := map[string]any{}, modelPath(args[0], "alias-protection")
			if len(args) == 1 && !none {
				err = c.call(cmd.Context(), http.MethodGet, path, nil, &protection)
			} else {
				var answer map[string]any
				body := map[string]any{"protected": args[1:], "etag": w.etag, "reason": w.reason}
				err = c.call(cmd.Context(), http.MethodPut, path, body, &answer)
				if id, ok := lookup(answer, "change.id").(string); ok {
					return a.printAlias(cmd.Context(), c, args[0], nil, id)
				}
				protection, _ = answer["protection"].(map[string]any)
			}
			if err != nil {
				return err
			}
			return a.printOne("AliasProtection", protection, columns("MODEL model", "PROTECTED protected", "EVERYWHERE configured", "ETAG etag"))
		},
	})
	cmd.Flags().BoolVar(&none, "none", false, "protect none of the model's own")
	return cmd
}
