package cli

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const limitsPath = "/v1/admin/limits"

const limitsLong = `Limits say how much is let through: requests, tokens, or requests at once. Several
hold at once, and the first that is reached refuses. Those of the platform's tenant
are about everybody; another tenant's are about itself, and hold besides.

  poterne limits set gpt-per-user --kind total-tokens --by tenant,user --models 'gpt-*' --amount 100000 --period 1h
  poterne limits set streams --kind concurrent-requests --by key --routes generate --amount 8`

func (a *app) limitsCommand() *cobra.Command {
	var tenant string
	cmd := group("limits", "How much is let through: requests, tokens, requests at once",
		a.limitsListCommand(&tenant), a.limitsSetCommand(&tenant), a.limitsDeleteCommand(&tenant), a.limitsStatusCommand(&tenant))
	cmd.Long = limitsLong
	cmd.PersistentFlags().StringVar(&tenant, "tenant", "", "whose limits; empty for your own tenant's")
	return cmd
}

func limitColumns() []column {
	return columns("NAME name", "KIND kind LIMIT_KIND_", "AMOUNT amount", "PERIOD period", "BURST burst 0", "BY by", "MATCH match", "AWAY away LIMIT_AWAY_", "DISABLED disabled", "ETAG etag")
}

func (a *app) printLimits(limits []any) error {
	if a.settings.output != "table" {
		return a.print(limits, nil)
	}
	for _, item := range limits {
		if limit, ok := item.(map[string]any); ok {
			limit["match"] = matched(limit["match"])
		}
	}
	return a.print(limits, limitColumns())
}

// matched writes which requests a limit is about, such as models=gpt-* routes=embed,infer;
// "" is all of them.
func matched(match any) string {
	members, _ := match.(map[string]any)
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if list, _ := members[name].([]any); len(list) > 0 {
			parts = append(parts, name+"="+cell(list))
		}
	}
	return strings.Join(parts, " ")
}

func (a *app) limitsListCommand(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List limits, and which requests they are about", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			limits, err := c.pages(cmd.Context(), limitsPath, url.Values{"tenant": {*tenant}}, "limits", 0)
			if err != nil {
				return err
			}
			return a.printLimits(limits)
		},
	}
}

func (a *app) limitsSetCommand(tenant *string) *cobra.Command {
	var kind, away, etag string
	var by, tenants, keys, users, models, routes []string
	var amount, burst int64
	var period time.Duration
	var disabled, check bool
	cmd := &cobra.Command{
		Use: "set NAME --kind KIND --amount N", Short: "Make a limit, or change what is given of the one that there is",
		Long: `Makes a limit, or changes what is given of the one that there is and keeps the rest:
whom it is about and what it counts apart, too (--by=, --models= and so on take that away).`,
		Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if amount < 1 {
				return usagef("--amount must be given, and at least 1")
			}
			kindName, err := limitKinds().name("kind", kind)
			if err != nil {
				return err
			}
			awayName, err := limitAways().name("away", away)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			limit := map[string]any{
				"kind": kindName, "away": awayName, "by": by, "amount": amount, "burst": burst, "disabled": disabled,
				"match": map[string]any{"tenants": tenants, "keys": keys, "users": users, "models": models, "routes": routes},
			}
			if period > 0 {
				limit["period"] = strconv.FormatFloat(period.Seconds(), 'f', -1, 64) + "s"
			}
			if err := c.keepOfLimit(cmd, limit, joinPath(limitsPath, args[0])+"?"+url.Values{"tenant": {*tenant}}.Encode()); err != nil {
				return err
			}
			body := map[string]any{"tenant": *tenant, "etag": etag, "validate_only": check, "limit": limit}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPut, joinPath(limitsPath, args[0]), body, &out); err != nil {
				return err
			}
			a.warn("", out["warnings"])
			return a.printLimits([]any{out["limit"]})
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", "requests", "requests, input-tokens, output-tokens, total-tokens or concurrent-requests")
	f.Int64Var(&amount, "amount", 0, "how much in each period; of concurrent requests, how many there may be")
	f.DurationVar(&period, "period", 0, "the period, such as 1m or 24h; a minute when it is not given")
	f.Int64Var(&burst, "burst", 0, "how much may come at once; 0 for the amount")
	f.StringSliceVar(&by, "by", nil, "count these apart: tenant, key, user, model, route, address")
	f.StringSliceVar(&tenants, "tenants", nil, "about these tenants (the platform's limits only); * stands for anything")
	f.StringSliceVar(&keys, "keys", nil, "about these API keys, by their ids")
	f.StringSliceVar(&users, "users", nil, "about these users")
	f.StringSliceVar(&models, "models", nil, "about these models")
	f.StringSliceVar(&routes, "routes", nil, "about these classes (generate, embed, …) or methods")
	f.StringVar(&away, "away", "local", "without the shared store: local, allow or refuse")
	f.BoolVar(&disabled, "disabled", false, "limit nothing, and hide what the configuration has of this name")
	f.StringVar(&etag, "etag", "", "only when the limit has this etag; 0 when there is none")
	f.BoolVar(&check, "check", false, "only check it")
	return cmd
}

// keepOfLimit sets what was not given to what the limit at path has, if there is one.
func (c *client) keepOfLimit(cmd *cobra.Command, limit map[string]any, path string) error {
	var there struct {
		Limit map[string]any `json:"limit"`
	}
	if err := c.call(cmd.Context(), http.MethodGet, path, nil, &there); err != nil {
		if hasStatus(err, http.StatusNotFound) {
			return nil
		}
		return err
	}
	keep := func(to, from map[string]any, flags ...string) {
		for _, flag := range flags {
			if value, ok := from[flag]; ok && !cmd.Flags().Changed(flag) {
				to[flag] = value
			}
		}
	}
	keep(limit, there.Limit, "kind", "away", "by", "period", "burst", "disabled")
	match, _ := limit["match"].(map[string]any)
	had, _ := there.Limit["match"].(map[string]any)
	keep(match, had, "tenants", "keys", "users", "models", "routes")
	return nil
}

func (a *app) limitsDeleteCommand(tenant *string) *cobra.Command {
	var etag string
	cmd := &cobra.Command{
		Use: "delete NAME", Short: "Remove a limit; what the configuration has of its name holds again", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"tenant": {*tenant}, "etag": {etag}}
			if err := c.call(cmd.Context(), http.MethodDelete, joinPath(limitsPath, args[0])+"?"+query.Encode(), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.streams.Out, "limit %s is removed\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&etag, "etag", "", "only when the limit has this etag")
	return cmd
}

func (a *app) limitsStatusCommand(tenant *string) *cobra.Command {
	fields := make(map[string]*string)
	cmd := &cobra.Command{
		Use: "status", Short: "Show what is left of the limits that are about a request, and why the others are not", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"tenant": {*tenant}}
			for name, value := range fields {
				query.Set(name, *value)
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, limitsPath+":status?"+query.Encode(), nil, &out); err != nil {
				return err
			}
			if err := a.print(out["limits"], columns("NAME name", "OF tenant", "KIND kind LIMIT_KIND_", "REMAINING remaining", "AT-ONCE burst", "AMOUNT amount",
				"PERIOD period", "FULL-IN reset_after", "BY by", "LOCAL local")); err != nil {
				return err
			}
			misses, _ := out["misses"].([]any)
			for _, m := range misses { // apart, so that -o json stays the list that it is
				_, _ = fmt.Fprintf(a.streams.Err, "the limit %s (of %s) is not about this request: %s\n", cell(lookup(m, "name")), cell(lookup(m, "tenant")), cell(lookup(m, "reason")))
			}
			return nil
		},
	}
	for _, f := range [][3]string{
		{"key", "key_id", "with this API key, by its id; empty for your own"},
		{"subject", "subject", "for this subject"},
		{"user", "user", "with this user"},
		{"model", "model", "to this model"},
		{"method", "method", "by this full gRPC method; empty for chat completions"},
		{"address", "address", "from this address"},
	} {
		fields[f[1]] = cmd.Flags().String(f[0], "", f[2])
	}
	return cmd
}
