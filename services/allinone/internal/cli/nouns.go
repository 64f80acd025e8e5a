package cli

import (
	"context"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// noun is something of a model that can be listed, got and described.
type noun struct {
	plural, short string
	// segment is what follows the model in paths, field the name of the list.
	segment, field string
	argument       string
	// kind is that of the documents that declare one.
	kind    string
	columns []column
}

func versionNoun() noun {
	return noun{"versions", "Versions of models", "versions", "versions", "VERSION", "Version", versionFields()}
}

func aliasNoun() noun {
	return noun{
		"aliases", "Aliases: where they point, who asked for what, and what they were", "aliases", "aliases", "ALIAS", "Alias",
		columns("MODEL model", "ALIAS name", "VERSION version", "WAITING pending_change", "DIGEST digest", "UPDATED update_time", "ETAG etag"),
	}
}

// nounCommand has the verbs list, get and describe, and others.
func (a *app) nounCommand(n noun, others ...*cobra.Command) *cobra.Command {
	return group(n.plural, n.short, append([]*cobra.Command{
		a.nounListCommand(n), a.nounGetCommand(n), a.nounDescribeCommand(n),
	}, others...)...)
}

func (a *app) nounListCommand(n noun) *cobra.Command {
	return &cobra.Command{
		Use: "list MODEL", Short: "List a model's " + n.plural, Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), modelPath(args[0], n.segment), nil, n.field, 0)
			if err != nil {
				return err
			}
			return a.print(items, n.columns)
		},
	}
}

func (a *app) nounGetCommand(n noun) *cobra.Command {
	return &cobra.Command{
		Use: "get MODEL " + n.argument, Short: "Show one of them", Args: exactArgs("MODEL", n.argument),
		RunE: func(cmd *cobra.Command, args []string) error {
			item, err := a.item(cmd.Context(), modelPath(args[0], n.segment, args[1]))
			if err != nil {
				return err
			}
			return a.printOne(n.kind, item, n.columns)
		},
	}
}

// nounDescribeCommand shows all of one of them, and what happened to its model.
func (a *app) nounDescribeCommand(n noun) *cobra.Command {
	return &cobra.Command{
		Use: "describe MODEL " + n.argument, Short: "Tell everything about one of them, with its model's recent changes",
		Args: exactArgs("MODEL", n.argument),
		RunE: func(cmd *cobra.Command, args []string) error {
			item, err := a.item(cmd.Context(), modelPath(args[0], n.segment, args[1]))
			if err != nil {
				return err
			}
			changes, err := a.recentChanges(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(map[string]any{"resource": item, "changes": changes}, nil)
			}
			if err := a.printYAML(item); err != nil {
				return err
			}
			a.heading("recent changes of %s", args[0])
			return a.print(changes, changeColumns())
		},
	}
}

func (a *app) modelsDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe MODEL", Short: "Tell everything about a model: what serves, its newest versions, aliases, split and recent changes",
		Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.everything(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(all, nil)
			}
			if err := a.printYAML(all["model"]); err != nil {
				return err
			}
			parts := []struct {
				title, field string
				columns      []column
			}{
				{"serving", "serving", columns("STATE state", "VERSION version", "WORKERS replicas.ready", "PROBLEM placement_problem")},
				{"newest versions", "versions", versionFields()[1:]},
				{"aliases", "aliases", aliasNoun().columns[1:]},
				{"split", "split", columns("ARM name", "VERSION version", "MILLIONTHS weight", "DIGEST digest")},
				{"recent changes", "changes", changeColumns()},
			}
			for _, p := range parts {
				value := all[p.field]
				if list, ok := value.([]any); value == nil || ok && len(list) == 0 {
					continue
				}
				a.heading("%s", p.title)
				if err := a.print(value, p.columns); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// shownAtMost is how many of what a description lists are shown.
const shownAtMost = 20

// everything gathers what is known of a model.
func (a *app) everything(ctx context.Context, model string) (map[string]any, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	of, err := a.item(ctx, modelPath(model))
	if err != nil {
		return nil, err
	}
	out := map[string]any{"model": of}
	few := url.Values{"page_size": {"20"}}
	if out["versions"], err = c.pages(ctx, modelPath(model, "versions"), few, "versions", shownAtMost); err != nil {
		return nil, err
	}
	if out["aliases"], err = c.pages(ctx, modelPath(model, "aliases"), nil, "aliases", 0); err != nil {
		return nil, err
	}
	if out["changes"], err = a.recentChanges(ctx, model); err != nil {
		return nil, err
	}
	// There need be no split, and nothing that serves.
	for field, path := range map[string]string{"split": modelPath(model, "split"), "serving": joinPath("/v1/models", model)} {
		var answer map[string]any
		switch err := c.call(ctx, http.MethodGet, path, nil, &answer); {
		case hasStatus(err, http.StatusNotFound):
		case err != nil:
			return nil, err
		case field == "split":
			out[field] = answer["arms"]
		default:
			out[field] = answer
		}
	}
	return out, nil
}

func (a *app) item(ctx context.Context, path string) (map[string]any, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	var out map[string]any
	err = c.call(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

func changeColumns() []column {
	return columns("REVISION revision", "TIME commit_time", "EVENT event", "WHO actor")
}

// recentChanges returns a model's newest changes; nil for who may not see them.
func (a *app) recentChanges(ctx context.Context, model string) ([]any, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	items, err := c.pages(ctx, "/v1/registry/changes", url.Values{"model": {model}, "page_size": {"20"}}, "changes", shownAtMost)
	if hasStatus(err, http.StatusForbidden) {
		return nil, nil
	}
	return items, err
}

// printYAML prints all of a thing for people.
func (a *app) printYAML(v any) error {
	b := *a
	b.settings.output = "yaml"
	return b.print(v, nil)
}
