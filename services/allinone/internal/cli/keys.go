package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const keysPath = "/v1/admin/api-keys"

const keyStatePrefix = "API_KEY_STATE_"

func (a *app) keysCommand() *cobra.Command {
	return group("keys", "API keys", a.keysCreateCommand(), a.keysGetCommand(), a.keysListCommand(), a.keysUpdateCommand(),
		a.keysRotateCommand(), a.keysRevokeCommand(), a.keysCheckLeakedCommand())
}

// grantFlags are what credentials are for.
type grantFlags struct{ scopes, models, collections, networks []string }

func (g *grantFlags) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&g.scopes, "scope", nil, "an action, as model:chat, collection:* or *:list; all by default; may be repeated")
	f.StringSliceVar(&g.models, "model", nil, "a model, or the beginning of names, team-*; all by default; may be repeated")
	f.StringSliceVar(&g.collections, "collection", nil, "a collection, or the beginning of names; all by default; may be repeated")
	f.StringSliceVar(&g.networks, "network", nil, "a network that requests may come from, as 192.0.2.0/24; all by default; may be repeated")
}

// fields are the fields by their flags.
func (g *grantFlags) fields() map[string]field {
	return map[string]field{
		"scope": {"scopes", &g.scopes}, "model": {"models", &g.models}, "collection": {"collections", &g.collections}, "network": {"networks", &g.networks},
	}
}

// field is a field of a request, and where its value is.
type field struct {
	name  string
	value any
}

// given are the fields whose flags were given, and the mask that names them. A
// list with one empty entry is an empty one.
func given(cmd *cobra.Command, fields map[string]field) (map[string]any, string) {
	body, mask := map[string]any{}, []string{}
	for flag, f := range fields {
		if !cmd.Flags().Changed(flag) {
			continue
		}
		mask = append(mask, f.name)
		switch v := f.value.(type) {
		case *[]string:
			if len(*v) == 1 && (*v)[0] == "" {
				*v = nil
			}
			body[f.name] = *v
		case *string:
			body[f.name] = *v
		case *int:
			body[f.name] = *v
		}
	}
	return body, strings.Join(mask, ",")
}

// keyStates are what a key's state may be.
func keyStates() []string { return []string{"active", "revoked", "expired", "disabled"} }

func keyColumns() []column {
	return columns("ID id", "NAME name", "TENANT tenant", "SUBJECT subject", "STATE state "+keyStatePrefix, "ROLES roles", "SCOPES scopes", "MODELS models",
		"COLLECTIONS collections", "NETWORKS networks", "OWNER owner", "EXPIRES expire_time", "USED last_use_time")
}

// newKeyColumns are those of an answer that shows a key once.
func newKeyColumns() []column {
	return columns("ID api_key.id", "TENANT api_key.tenant", "SUBJECT api_key.subject", "ROLES api_key.roles", "GROUPS api_key.groups", "KEY key")
}

func (a *app) keysCreateCommand() *cobra.Command {
	var tenant, subject, owner, account string
	var roles, groups []string
	var perMinute int
	var expires time.Duration
	var g grantFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Create an API key; it is shown once", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if account != "" && !cmd.Flags().Changed("role") {
				roles = nil // the account's
			}
			body := map[string]any{
				"name": args[0], "tenant": tenant, "subject": subject, "roles": roles, "groups": groups, "requests_per_minute": perMinute,
				"scopes": g.scopes, "models": g.models, "collections": g.collections, "networks": g.networks, "owner": owner, "service_account": account,
			}
			if err := a.expireIn(expires, body); err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, keysPath, body, &out); err != nil {
				return err
			}
			return a.print(out, newKeyColumns())
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "the tenant; empty for your own")
	f.StringVar(&subject, "subject", "", "who holds it; empty for one made from the key's id")
	f.StringSliceVar(&roles, "role", []string{"reader"}, "roles: admin, approver, developer, reader, scanner")
	f.StringSliceVar(&groups, "group", nil, "groups, for access lists")
	f.IntVar(&perMinute, "requests-per-minute", 0, "its rate limit; 0 for the gateway's default")
	f.DurationVar(&expires, "expires-in", 0, "when it ends by itself; 0 for never")
	f.StringVar(&owner, "owner", "", "whom to ask about it: a team or an address")
	f.StringVar(&account, "service-account", "", "the service account that it belongs to, which has its roles and groups")
	g.bind(cmd)
	return cmd
}

// expireIn sets when a key ends by itself; 0 is never. What has gone by is
// refused, so that no slip makes a key that holds for ever.
func (a *app) expireIn(after time.Duration, key map[string]any) error {
	if after < 0 {
		return usagef("--expires-in %s has gone by: give a time from now on, or 0 for never", after)
	}
	if after > 0 {
		key["expire_time"] = a.clock.Now().Add(after).UTC().Format(time.RFC3339)
	}
	return nil
}

func (a *app) keysGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an API key, without its secret", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), http.MethodGet, joinPath(keysPath, args[0]), nil, keyColumns())
		},
	}
}

// ask prints what a call answers.
func (a *app) ask(ctx context.Context, method, path string, body any, cols []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	var out map[string]any
	if err := c.call(ctx, method, path, body, &out); err != nil {
		return err
	}
	return a.print(out, cols)
}

func (a *app) keysListCommand() *cobra.Command {
	var tenant, subject, owner, state, account string
	var unused time.Duration
	cmd := &cobra.Command{
		Use: "list", Short: "List API keys", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"tenant": tenant, "subject": subject, "owner": owner, "service_account": account} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if state != "" {
				if !slices.Contains(keyStates(), state) {
					return usagef("--state %q is none of %s", state, strings.Join(keyStates(), ", "))
				}
				query.Set("state", keyStatePrefix+strings.ToUpper(state))
			}
			if unused > 0 {
				query.Set("unused_since", a.clock.Now().Add(-unused).UTC().Format(time.RFC3339))
			}
			return a.list(cmd, keysPath, query, "api_keys", 0, keyColumns())
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "only this tenant's")
	f.StringVar(&subject, "subject", "", "only this subject's")
	f.StringVar(&owner, "owner", "", "only this owner's")
	f.StringVar(&account, "service-account", "", "only this service account's")
	f.StringVar(&state, "state", "", "only those that are active, revoked, expired or disabled")
	f.DurationVar(&unused, "unused-for", 0, "only those that were neither used nor created for so long, as 720h")
	return cmd
}

func (a *app) keysUpdateCommand() *cobra.Command {
	var name, owner, etag string
	var perMinute int
	var expires time.Duration
	var g grantFlags
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change what is given of an API key; the rest stays",
		Long: `Change what is given of an API key; the rest stays. An empty list, as in
--scope "", takes what narrows away; --expires-in 0 lets it hold for ever.`,
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			fields := g.fields()
			fields["name"], fields["owner"], fields["requests-per-minute"] = field{"name", &name}, field{"owner", &owner}, field{"requests_per_minute", &perMinute}
			key, mask := given(cmd, fields)
			if cmd.Flags().Changed("expires-in") {
				mask = strings.TrimPrefix(mask+",expire_time", ",")
				if err := a.expireIn(expires, key); err != nil {
					return err
				}
			}
			if mask == "" {
				return usagef("nothing is to change: give a flag of what is")
			}
			body := map[string]any{"api_key": key, "update_mask": mask, "etag": etag}
			return a.ask(cmd.Context(), http.MethodPatch, joinPath(keysPath, args[0]), body, keyColumns())
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "its name")
	f.StringVar(&owner, "owner", "", "whom to ask about it")
	f.IntVar(&perMinute, "requests-per-minute", 0, "its rate limit; 0 for the gateway's default")
	f.DurationVar(&expires, "expires-in", 0, "when it ends by itself; 0 for never")
	f.StringVar(&etag, "etag", "", "refuse when it has changed since this was read")
	g.bind(cmd)
	return cmd
}

func (a *app) keysRotateCommand() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Give an API key a new secret; it is shown once", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"overlap": fmt.Sprintf("%.3fs", overlap.Seconds())}
			return a.ask(cmd.Context(), http.MethodPost, joinPath(keysPath, args[0])+":rotate", body,
				columns("ID api_key.id", "SUBJECT api_key.subject", "OLD-UNTIL api_key.previous_secret_expire_time", "KEY key"))
		},
	}
	cmd.Flags().DurationVar(&overlap, "overlap", 0, "how long the secret that it has goes on, up to 2160h; 0: it ends at once")
	return cmd
}

func (a *app) keysRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API key for good", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), http.MethodDelete, joinPath(keysPath, args[0]), nil, columns("ID id", "NAME name", "REVOKED revoke_time"))
		},
	}
}
