package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

const budgetWebhooksPath = "/v1/admin/webhooks"

func (a *app) budgetWebhooksCommand() *cobra.Command {
	return group("webhooks", "Who is told of what happens to budgets", a.budgetWebhooksListCommand(), a.budgetWebhooksSetCommand(), a.budgetWebhooksDeleteCommand(),
		a.budgetWebhooksTestCommand(), a.budgetWebhooksDeliveriesCommand(), a.budgetWebhooksRedeliverCommand())
}

func budgetWebhookPath(id, verb string) string {
	return budgetWebhooksPath + "/" + url.PathEscape(id) + verb
}

func (a *app) printBudgetWebhooks(v any) error {
	return a.print(v, columns("TENANT tenant", "ID id", "URL url", "EVENTS events", "DISABLED disabled", "TWO_SECRETS_UNTIL previous_secret_expire_time", "CHANGED update_time", "BY updater"))
}

func (a *app) budgetWebhooksListCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "list", Short: "List webhooks", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), budgetWebhooksPath, ofTenant(tenant), "webhooks", 0)
			if err != nil {
				return err
			}
			return a.printBudgetWebhooks(items)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	return cmd
}

func (a *app) budgetWebhooksSetCommand() *cobra.Command {
	var tenant, address string
	var events []string
	var disabled, rotate bool
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "set ID --url URL", Short: "Make a webhook, or change it",
		Long: `Makes a webhook, or changes the one of that name. Events are sent to the URL, signed as
Standard Webhooks says. A new secret is printed once, and never shown again.

With --rotate-secret the webhook stays what it is but for the flags that are given, so that
--url may be left out. Afterwards events have the signatures of both secrets for as long as
--overlap says. With --overlap 0s the one before signs nothing from then on: so do it
where it is known to others.`,
		Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if address == "" && !rotate {
				return usagef("--url is required")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			hook := map[string]any{"url": address, "events": events, "disabled": disabled}
			if rotate {
				if err := c.keepBudgetWebhook(cmd, args[0], tenant, hook); err != nil {
					return err
				}
			}
			body := map[string]any{"webhook": hook, "tenant": tenant, "rotate_secret": rotate}
			if cmd.Flags().Changed("overlap") {
				if !rotate {
					return usagef("--overlap goes with --rotate-secret")
				}
				body["overlap"] = strconv.FormatFloat(overlap.Seconds(), 'f', -1, 64) + "s"
			}
			if err := c.call(cmd.Context(), http.MethodPut, budgetWebhookPath(args[0], ""), body, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			if err := a.printBudgetWebhooks([]any{out["webhook"]}); err != nil || out["secret"] == nil {
				return err
			}
			_, err = fmt.Fprintf(a.streams.Out, "secret, shown only now: %s\n", out["secret"])
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	f.StringVar(&address, "url", "", "where events are sent")
	f.StringSliceVar(&events, "events", nil, "only these: budget.warning, budget.exhausted, budget.refused, budget.period_started")
	f.BoolVar(&disabled, "disabled", false, "tell it nothing")
	f.BoolVar(&rotate, "rotate-secret", false, "make a new secret; the one before signs, too, for a while")
	f.DurationVar(&overlap, "overlap", 0, "for how long the secret before still signs, at most 168h; the gateway's own time, 24h, when not given")
	return cmd
}

// keepBudgetWebhook sets in hook what the webhook of that name has, but for what the
// command's flags say.
func (c *client) keepBudgetWebhook(cmd *cobra.Command, id, tenant string, hook map[string]any) error {
	var now struct {
		Webhook map[string]any `json:"webhook"`
	}
	if err := c.call(cmd.Context(), http.MethodGet, budgetWebhookPath(id, "")+"?"+ofTenant(tenant).Encode(), nil, &now); err != nil {
		return err
	}
	for name := range hook {
		if v, has := now.Webhook[name]; has && !cmd.Flags().Changed(name) {
			hook[name] = v
		}
	}
	return nil
}

func (a *app) budgetWebhooksDeleteCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Remove a webhook", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := budgetWebhookPath(args[0], "")
			if tenant != "" {
				path += "?" + ofTenant(tenant).Encode()
			}
			if err := c.call(cmd.Context(), http.MethodDelete, path, nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.streams.Out, "webhook %s is removed\n", args[0])
			return err
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	return cmd
}

func (a *app) budgetWebhooksTestCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "test ID", Short: "Tell a webhook a test event now", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, budgetWebhookPath(args[0], ":test"), map[string]any{"tenant": tenant}, &out); err != nil {
				return err
			}
			if out["delivered"] != true {
				return fmt.Errorf("webhook %s did not take it: status %v, %v", args[0], out["status"], out["problem"])
			}
			return a.print(out, columns("DELIVERED delivered", "STATUS status"))
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	return cmd
}

func (a *app) budgetWebhooksDeliveriesCommand() *cobra.Command {
	var tenant, state string
	cmd := &cobra.Command{
		Use: "deliveries ID", Short: "List what a webhook was told, or is to be told", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := ofTenant(tenant)
			if state != "" {
				query.Set("state", state)
			}
			items, err := c.pages(cmd.Context(), budgetWebhookPath(args[0], "/deliveries"), query, "deliveries", 0)
			if err != nil {
				return err
			}
			return a.print(items, columns("EVENT event", "TYPE type", "STATE state", "ATTEMPTS attempts", "STATUS status", "PROBLEM problem", "HAPPENED create_time", "NEXT next_time"))
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	cmd.Flags().StringVar(&state, "state", "", "only those that are pending, delivered or dead")
	return cmd
}

func (a *app) budgetWebhooksRedeliverCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "redeliver ID EVENT", Short: "Have a webhook be told an event again", Args: exactArgs("ID", "EVENT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), http.MethodPost, budgetWebhookPath(args[0], ":redeliver"), map[string]any{"event": args[1], "tenant": tenant}, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.streams.Out, "event %s is told again\n", args[1])
			return err
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant, where it is not your own")
	return cmd
}
