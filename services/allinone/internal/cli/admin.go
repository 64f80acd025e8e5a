package cli

import (
	"maps"
	"net/url"
	"slices"

	"github.com/spf13/cobra"
)

func (a *app) list(cmd *cobra.Command, path string, query url.Values, field string, limit int, cols []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	items, err := c.pages(cmd.Context(), path, query, field, limit)
	if err != nil {
		return err
	}
	return a.print(items, cols)
}

func (a *app) contextCommand() *cobra.Command {
	var ref clientReference
	set := &cobra.Command{
		Use: "set NAME", Short: "Make or change a context, and use it", Args: exactArgs("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			ref.URL, ref.APIKey = firstOf(a.settings.url, defaultURL), a.settings.apiKey
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			if file.Contexts == nil {
				file.Contexts = map[string]clientReference{}
			}
			file.Contexts[args[0]], file.Current = ref, args[0]
			return a.saveContexts(file)
		},
	}
	set.Flags().StringVar(&ref.APIKeyFile, "api-key-file", "", "a file that holds the key, instead of --api-key")
	use := &cobra.Command{
		Use: "use NAME", Short: "Use a context from now on", Args: exactArgs("NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			if _, ok := file.Contexts[args[0]]; !ok {
				return usagef("there is no context %q", args[0])
			}
			file.Current = args[0]
			return a.saveContexts(file)
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "List the contexts", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			file, err := a.loadContexts()
			if err != nil {
				return err
			}
			items := []any{}
			for _, name := range slices.Sorted(maps.Keys(file.Contexts)) {
				items = append(items, map[string]any{"name": name, "url": file.Contexts[name].URL, "current": name == file.Current})
			}
			return a.print(items, columns("CONTEXT name", "GATEWAY url", "CURRENT current"))
		},
	}
	return group("context", "Gateways and keys that you use often", set, use, list)
}
