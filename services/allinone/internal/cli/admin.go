package cli

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"
)

const keysPath = "/v1/admin/api-keys"

func (a *app) keysCommand() *cobra.Command {
	var tenant, subject string
	var roles, groups []string
	var perMinute int
	var expires time.Duration
	create := &cobra.Command{
		Use: "create NAME", Short: "Create an API key; it is shown once", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{
				"name": args[0], "tenant": tenant, "subject": subject, "roles": roles, "groups": groups,
				"requests_per_minute": perMinute,
			}
			if expires > 0 {
				body["expire_time"] = a.clock.Now().Add(expires).UTC().Format(time.RFC3339)
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, keysPath, body, &out); err != nil {
				return err
			}
			return a.print(out, columns("ID api_key.id", "TENANT api_key.tenant", "SUBJECT api_key.subject", "ROLES api_key.roles", "GROUPS api_key.groups", "KEY key"))
		},
	}
	f := create.Flags()
	f.StringVar(&tenant, "tenant", "", "the tenant; empty for your own")
	f.StringVar(&subject, "subject", "", "who holds it; empty for one made from the key's id")
	f.StringSliceVar(&roles, "role", []string{"reader"}, "roles: admin, approver, developer, reader")
	f.StringSliceVar(&groups, "group", nil, "groups, for access lists")
	f.IntVar(&perMinute, "requests-per-minute", 0, "its rate limit; 0 for the gateway's default")
	f.DurationVar(&expires, "expires-in", 0, "when it ends by itself; 0 for never")
	list := &cobra.Command{
		Use: "list", Short: "List API keys", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, keysPath, nil, "api_keys", 0, columns("ID id", "NAME name", "TENANT tenant", "SUBJECT subject", "ROLES roles", "GROUPS groups", "CREATED create_time", "REVOKED revoke_time"))
		},
	}
	revoke := &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key for good", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodDelete, joinPath(keysPath, args[0]), nil, &out); err != nil {
				return err
			}
			return a.print(out, columns("ID id", "NAME name", "REVOKED revoke_time"))
		},
	}
	return group("keys", "API keys", create, list, revoke)
}

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
