package cli

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

const webhooksPath = "/v1/registry/webhooks"

func webhookColumns() []column {
	return columns("WEBHOOK name", "URL url", "EVENTS events", "MODELS models", "ACTIVE active", "PENDING pending", "DEAD dead", "MISSED missed")
}

func deliveryColumns() []column {
	return columns("DELIVERY id", "EVENT event", "MODEL model", "STATE state DELIVERY_STATE_", "ATTEMPTS attempts", "STATUS last_status 0",
		"NEXT next_attempt_time", "ERROR last_error")
}

func (a *app) webhooksCommand() *cobra.Command {
	return group("webhooks", "Places that are told of the registry's changes",
		a.webhooksListCommand(), a.webhooksGetCommand(), a.webhooksDescribeCommand(), a.webhooksCreateCommand(), a.webhooksUpdateCommand(),
		a.webhooksDeleteCommand(), a.webhooksDeliveriesCommand(), a.webhooksRedeliverCommand())
}

func (a *app) webhooksListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List webhooks", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), webhooksPath, nil, "webhooks", 0)
			if err != nil {
				return err
			}
			return a.print(items, webhookColumns())
		},
	}
}

func (a *app) webhooksGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get WEBHOOK", Short: "Show a webhook; its secret is never shown", Args: exactArgs("WEBHOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			item, err := a.item(cmd.Context(), joinPath(webhooksPath, args[0]))
			if err != nil {
				return err
			}
			return a.print(item, webhookColumns())
		},
	}
}

func (a *app) webhooksDescribeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "describe WEBHOOK", Short: "Tell everything about a webhook, with its last messages", Args: exactArgs("WEBHOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			item, err := a.item(cmd.Context(), joinPath(webhooksPath, args[0]))
			if err != nil {
				return err
			}
			few := url.Values{"page_size": {"20"}}
			list, err := c.pages(cmd.Context(), joinPath(webhooksPath, args[0], "deliveries"), few, "deliveries", shownAtMost)
			if err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(map[string]any{"resource": item, "deliveries": list}, nil)
			}
			if err := a.printYAML(item); err != nil {
				return err
			}
			a.heading("last messages")
			return a.print(list, deliveryColumns())
		},
	}
}

// hook is what a webhook is made of.
type hook struct {
	url, secretFile string
	generate        bool
	events, models  []string
	inactive        bool
}

func (h *hook) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&h.url, "url", "", "where messages are sent")
	f.StringVar(&h.secretFile, "secret-file", "", "a file with the secret that messages are signed with: whsec_BASE64")
	f.BoolVar(&h.generate, "generate-secret", false, "make a secret, and print it once")
	f.StringSliceVar(&h.events, "event", nil, "a kind of event such as alias.set or alias.*; all by default; may be repeated")
	f.StringSliceVar(&h.models, "model", nil, "a model, or the beginning of names, team-*; all by default; may be repeated")
	f.BoolVar(&h.inactive, "inactive", false, "send nothing for now")
}

// secret returns the secret that is asked for; "" for none.
func (h *hook) secret() (string, error) {
	switch {
	case h.generate && h.secretFile != "":
		return "", usagef("either --generate-secret or --secret-file")
	case h.generate:
		raw := make([]byte, 32)
		if _, err := rand.Read(raw); err != nil {
			return "", fmt.Errorf("make a secret: %w", err)
		}
		return "whsec_" + base64.StdEncoding.EncodeToString(raw), nil
	case h.secretFile != "":
		raw, err := os.ReadFile(h.secretFile)
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		return strings.TrimSpace(string(raw)), nil
	}
	return "", nil
}

func (a *app) webhooksCreateCommand() *cobra.Command {
	var h hook
	cmd := &cobra.Command{
		Use: "create WEBHOOK", Short: "Create a webhook, which is told of what happens from now on", Args: exactArgs("WEBHOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := h.secret()
			if err != nil {
				return err
			}
			if h.url == "" || secret == "" {
				return usagef("--url is needed, and --secret-file or --generate-secret")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{
				"name": args[0], "url": h.url, "secret": secret, "events": h.events, "models": h.models, "inactive": h.inactive,
			}
			return a.sendHook(cmd, c, http.MethodPost, webhooksPath, body, h.generate, secret)
		},
	}
	h.bind(cmd)
	return cmd
}

// sendHook prints the webhook that is answered, and a secret that was made.
func (a *app) sendHook(cmd *cobra.Command, c *client, method, path string, body map[string]any, made bool, secret string) error {
	var out map[string]any
	if err := c.call(cmd.Context(), method, path, body, &out); err != nil {
		return err
	}
	cols := webhookColumns()
	if made {
		out["secret"] = secret // nobody can ask for it again
		cols = append(cols, columns("SECRET secret")...)
	}
	return a.print(out, cols)
}

func (a *app) webhooksUpdateCommand() *cobra.Command {
	var h hook
	cmd := &cobra.Command{
		Use: "update WEBHOOK", Short: "Change what is given of a webhook; the rest stays", Args: exactArgs("WEBHOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := h.secret()
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			path := joinPath(webhooksPath, args[0])
			there, err := a.item(cmd.Context(), path)
			if err != nil {
				return err
			}
			active, _ := there["active"].(bool)
			body := map[string]any{
				"url": there["url"], "events": there["events"], "models": there["models"], "inactive": !active,
				"secret": secret, "etag": there["etag"],
			}
			for flag, value := range map[string]any{"url": h.url, "event": h.events, "model": h.models, "inactive": h.inactive} {
				if cmd.Flags().Changed(flag) {
					body[map[string]string{"url": "url", "event": "events", "model": "models", "inactive": "inactive"}[flag]] = value
				}
			}
			return a.sendHook(cmd, c, http.MethodPut, path, body, h.generate, secret)
		},
	}
	h.bind(cmd)
	return cmd
}

func (a *app) webhooksDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete WEBHOOK", Short: "Delete a webhook with its messages", Args: exactArgs("WEBHOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return c.call(cmd.Context(), http.MethodDelete, joinPath(webhooksPath, args[0])+"?etag=*", nil, nil)
		},
	}
}

func (a *app) webhooksDeliveriesCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "deliveries WEBHOOK", Short: "List a webhook's messages, the newest first", Args: exactArgs("WEBHOOK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), joinPath(webhooksPath, args[0], "deliveries"), nil, "deliveries", limit)
			if err != nil {
				return err
			}
			return a.print(items, deliveryColumns())
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many; 0 is all that are kept")
	return cmd
}

func (a *app) webhooksRedeliverCommand() *cobra.Command {
	return &cobra.Command{
		Use: "redeliver WEBHOOK [DELIVERY]", Short: "Send one message again, one that waits at once, or all that were given up",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := map[string]any{}
			if len(args) == 2 {
				body["delivery"] = args[1]
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, joinPath(webhooksPath, args[0])+":redeliver", body, &out); err != nil {
				return err
			}
			return a.print(out, columns("MESSAGES count"))
		},
	}
}
