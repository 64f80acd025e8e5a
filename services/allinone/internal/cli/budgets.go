package cli

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

const budgetsPath = "/v1/admin/budgets"

func (a *app) budgetsCommand() *cobra.Command {
	return group("budgets", "What tenants, teams and keys may use", a.budgetsListCommand(), a.budgetsGetCommand(), a.budgetsSetCommand(), a.budgetsDeleteCommand(),
		a.budgetWebhooksCommand())
}

func (a *app) printBudgets(items []any) error {
	if a.settings.output != "table" {
		return a.print(items, nil)
	}
	for _, item := range items {
		b, _ := item.(map[string]any)
		standing, _ := b["standing"].(map[string]any)
		if b["unit"] != "money" {
			continue
		}
		b["amount"] = money(b["amount"])
		for _, name := range []string{"settled", "reserved", "remaining"} {
			if standing[name] != nil {
				standing[name] = money(standing[name])
			}
		}
	}
	return a.print(items, columns("TENANT tenant", "ID id", "SCOPE scope", "OF scope_name", "PERIOD period", "UNIT unit", "AMOUNT amount",
		"USED standing.settled", "RESERVED standing.reserved", "LEFT standing.remaining", "HARD hard", "WARNS warnings", "UNTIL standing.end_time"))
}

func (a *app) budgetsListCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List budgets, and how they stand", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), budgetsPath, ofTenant(tenant), "budgets", 0)
			if err != nil {
				return err
			}
			return a.printBudgets(items)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant's")
	return cmd
}

func ofTenant(tenant string) url.Values {
	query := url.Values{}
	if tenant != "" {
		query.Set("tenant", tenant)
	}
	return query
}

func budgetPath(id, tenant string) string {
	path := budgetsPath + "/" + url.PathEscape(id)
	if tenant != "" {
		path += "?" + ofTenant(tenant).Encode()
	}
	return path
}

func (a *app) budgetsGetCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "get ID", Short: "Show a budget, and how it stands", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, budgetPath(args[0], tenant), nil, &out); err != nil {
				return err
			}
			return a.printBudgets([]any{out["budget"]})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	return cmd
}

func (a *app) budgetsSetCommand() *cobra.Command {
	var tenant, team, key, period, spend, tokens string
	var warn []int
	var soft bool
	cmd := &cobra.Command{
		Use: "set ID (--money AMOUNT | --tokens N) --period day|month|total", Short: "Make a budget, or change its amount",
		Long: `Makes a budget of the tenant, of a team (--team GROUP) or of an API key (--key ID), or
changes the amount of the one that there is, and of its warnings and whether it refuses
what is given (--soft=false has it refuse again).`,
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b := map[string]any{"id": args[0], "period": period, "warnings": warn, "hard": !soft, "scope": "tenant"}
			switch {
			case team != "" && key != "":
				return usagef("give one of --team and --key")
			case team != "":
				b["scope"], b["scope_name"] = "team", team
			case key != "":
				b["scope"], b["scope_name"] = "key", key
			}
			if err := budgetAmount(b, spend, tokens); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.keepOfBudget(cmd, b, tenant); err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, budgetsPath, map[string]any{"budget": b, "tenant": tenant}, &out); err != nil {
				return err
			}
			a.warn("", out["warnings"])
			return a.printBudgets([]any{out["budget"]})
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	f.StringVar(&team, "team", "", "of everybody in this group")
	f.StringVar(&key, "key", "", "of the API key with this id")
	f.StringVar(&period, "period", "month", "day, month or total")
	f.StringVar(&spend, "money", "", "how much may be spent, in the gateway's currency")
	f.StringVar(&tokens, "tokens", "", "how many tokens may be read and generated")
	f.IntSliceVar(&warn, "warn", []int{80, 100}, "from how many per cent callers are warned")
	f.BoolVar(&soft, "soft", false, "only warn, refuse nothing")
	return cmd
}

// keepOfBudget sets what was not given to what the budget has, if there is one.
func (c *client) keepOfBudget(cmd *cobra.Command, b map[string]any, tenant string) error {
	flags := map[string]string{"warnings": "warn", "hard": "soft", "period": "period"}
	maps.DeleteFunc(flags, func(_, flag string) bool { return cmd.Flags().Changed(flag) })
	if len(flags) == 0 {
		return nil
	}
	var there struct {
		Budget map[string]any `json:"budget"`
	}
	id, _ := b["id"].(string)
	if err := c.call(cmd.Context(), http.MethodGet, budgetPath(id, tenant), nil, &there); err != nil {
		if hasStatus(err, http.StatusNotFound) {
			return nil
		}
		return err
	}
	for member := range flags {
		b[member] = there.Budget[member]
	}
	if b["scope"] == "tenant" {
		b["scope"], b["scope_name"] = there.Budget["scope"], there.Budget["scope_name"]
	}
	return nil
}

// budgetAmount sets the unit and the amount.
func budgetAmount(b map[string]any, spend, tokens string) error {
	switch {
	case (spend == "") == (tokens == ""):
		return usagef("give one of --money and --tokens")
	case spend != "":
		n, err := parseMoney(spend)
		if err != nil {
			return usagef("--money: %w", err)
		}
		b["unit"], b["amount"] = "money", n
	default:
		n, err := strconv.ParseInt(strings.ReplaceAll(tokens, "_", ""), 10, 64)
		if err != nil || n < 0 {
			return usagef("--tokens must be a whole number, got %q", tokens)
		}
		b["unit"], b["amount"] = "tokens", n
	}
	return nil
}

func (a *app) budgetsDeleteCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Remove a budget", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodDelete, budgetPath(args[0], tenant), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.streams.Out, "budget %s is removed\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	return cmd
}
