package cli

import (
	"maps"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

const serviceAccountsPath = "/v1/admin/service-accounts"

func serviceAccountColumns() []column {
	return columns("ID id", "TENANT tenant", "NAME display_name", "ROLES roles", "GROUPS groups", "SCOPES scopes", "MODELS models",
		"COLLECTIONS collections", "NETWORKS networks", "OWNER owner", "DISABLED disabled")
}

func (a *app) serviceAccountsCommand() *cobra.Command {
	return group("service-accounts", "Programs that have API keys", a.accountsCreateCommand(), a.accountsUpdateCommand(), a.accountsListCommand(),
		a.accountVerb("get", "Show a service account", http.MethodGet, ""),
		a.accountVerb("disable", "Let none of a service account's keys hold", http.MethodPost, ":disable"),
		a.accountVerb("enable", "Let a service account's keys hold again", http.MethodPost, ":enable"),
		a.accountsDeleteCommand())
}

// accountFlags are what a service account is made of.
type accountFlags struct {
	tenant, name, description, owner string
	roles, groups                    []string
	grant                            grantFlags
}

func (v *accountFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&v.tenant, "tenant", "", "the tenant; empty for your own")
	f.StringVar(&v.name, "display-name", "", "a name for people")
	f.StringVar(&v.description, "description", "", "what it is for")
	f.StringVar(&v.owner, "owner", "", "whom to ask about it: a team or an address")
	f.StringSliceVar(&v.roles, "role", nil, "roles, which its keys have; may be repeated")
	f.StringSliceVar(&v.groups, "group", nil, "groups, for access lists; may be repeated")
	v.grant.bind(cmd)
}

func (v *accountFlags) fields() map[string]field {
	out := v.grant.fields()
	maps.Copy(out, map[string]field{
		"display-name": {"display_name", &v.name}, "description": {"description", &v.description}, "owner": {"owner", &v.owner},
		"role": {"roles", &v.roles}, "group": {"groups", &v.groups},
	})
	return out
}

func (a *app) accountsCreateCommand() *cobra.Command {
	var v accountFlags
	cmd := &cobra.Command{
		Use: "create ID", Short: "Create a service account", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			account, _ := given(cmd, v.fields())
			account["id"], account["tenant"] = args[0], v.tenant
			return a.ask(cmd.Context(), http.MethodPost, serviceAccountsPath, map[string]any{"service_account": account}, serviceAccountColumns())
		},
	}
	v.bind(cmd)
	return cmd
}

func (a *app) accountsUpdateCommand() *cobra.Command {
	var v accountFlags
	var etag string
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change what is given of a service account; the rest stays", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			account, mask := given(cmd, v.fields())
			if mask == "" {
				return usagef("nothing is to change: give a flag of what is")
			}
			body := map[string]any{"tenant": v.tenant, "service_account": account, "update_mask": mask, "etag": etag}
			return a.ask(cmd.Context(), http.MethodPatch, joinPath(serviceAccountsPath, args[0]), body, serviceAccountColumns())
		},
	}
	v.bind(cmd)
	cmd.Flags().StringVar(&etag, "etag", "", "refuse when it has changed since this was read")
	return cmd
}

func (a *app) accountsListCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List service accounts", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if tenant != "" {
				query.Set("tenant", tenant)
			}
			return a.list(cmd, serviceAccountsPath, query, "service_accounts", 0, serviceAccountColumns())
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant's")
	return cmd
}

// accountVerb is a verb that needs nothing but the account: a GET, or a POST to
// what is after its path.
func (a *app) accountVerb(verb, short, method, suffix string) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := joinPath(serviceAccountsPath, args[0]) + suffix
			if method == http.MethodGet {
				return a.ask(cmd.Context(), method, withTenant(path, tenant), nil, serviceAccountColumns())
			}
			return a.ask(cmd.Context(), method, path, map[string]any{"tenant": tenant}, serviceAccountColumns())
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant; empty for your own")
	return cmd
}

func withTenant(path, tenant string) string {
	if tenant == "" {
		return path
	}
	return path + "?" + url.Values{"tenant": {tenant}}.Encode()
}

func (a *app) accountsDeleteCommand() *cobra.Command {
	var tenant string
	var force bool
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a service account", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if tenant != "" {
				query.Set("tenant", tenant)
			}
			if force {
				query.Set("force", "true")
			}
			path := joinPath(serviceAccountsPath, args[0])
			if len(query) > 0 {
				path += "?" + query.Encode()
			}
			return c.call(cmd.Context(), http.MethodDelete, path, nil, nil)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant; empty for your own")
	cmd.Flags().BoolVar(&force, "force", false, "revoke the keys that it still has")
	return cmd
}
