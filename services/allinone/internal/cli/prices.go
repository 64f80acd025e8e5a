package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const pricesPath = "/v1/admin/prices"

func (a *app) pricesCommand() *cobra.Command {
	return group("prices", "What models cost", a.pricesListCommand(), a.pricesSetCommand(), a.pricesCancelCommand(), a.pricesRemoveCommand())
}

// rateNames are the classes of a price, as the gateway calls them.
func rateNames() []string {
	return []string{"input", "cached_input", "output", "reasoning", "audio_input", "audio_output", "embedding", "rerank", "document", "request"}
}

func (a *app) printPrices(items []any) error {
	if a.settings.output != "table" {
		return a.print(items, nil)
	}
	for _, item := range items {
		p, _ := item.(map[string]any)
		rates, _ := p["rates"].(map[string]any)
		for _, name := range rateNames() {
			if rates[name] != nil {
				rates[name] = money(rates[name])
			}
		}
	}
	return a.print(items, columns("MODEL model", "VARIANT variant", "INPUT rates.input", "CACHED rates.cached_input", "OUTPUT rates.output", "REASONING rates.reasoning", "AUDIO_IN rates.audio_input", "AUDIO_OUT rates.audio_output",
		"EMBEDDING rates.embedding", "RERANK rates.rerank", "DOCUMENT rates.document", "REQUEST rates.request", "CURRENCY currency", "FROM valid_from", "REMOVED removed", "BY creator"))
}

func (a *app) pricesListCommand() *cobra.Command {
	var history bool
	cmd := &cobra.Command{
		Use: "list", Short: "List what models cost, for a million of each", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if history {
				query.Set("history", "true")
			}
			items, err := c.pages(cmd.Context(), pricesPath, query, "prices", 0)
			if err != nil {
				return err
			}
			return a.printPrices(items)
		},
	}
	cmd.Flags().BoolVar(&history, "history", false, "those that have been replaced too")
	return cmd
}

func (a *app) pricesSetCommand() *cobra.Command {
	rates := make(map[string]*string)
	var variant, from string
	cmd := &cobra.Command{
		Use: "set MODEL [--input AMOUNT] [--output AMOUNT]…", Short: "Set what a model costs from a time on",
		Long: `Sets what a model costs: MODEL is name, name@v3, sha256:… or * for every model.
Amounts are in the gateway's currency, for a million tokens, ranked documents or requests.
A price that is to hold from the same time on, and does not yet, is replaced.`,
		Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := make(map[string]any)
			for _, name := range rateNames() {
				if !cmd.Flags().Changed(flagName(name)) {
					continue
				}
				n, err := parseMoney(*rates[name])
				if err != nil {
					return usagef("--%s: %w", flagName(name), err)
				}
				in[name] = n
			}
			if len(in) == 0 {
				return usagef("give at least one class, such as --input and --output, --embedding, --rerank, --document or --request; 0 is a price too")
			}
			return a.setPrice(cmd, map[string]any{"model": args[0], "variant": variant, "rates": in}, from)
		},
	}
	for _, name := range rateNames() {
		rates[name] = cmd.Flags().String(flagName(name), "", "what a million cost")
	}
	cmd.Flags().StringVar(&variant, "variant", "", "only this variant")
	cmd.Flags().StringVar(&from, "from", "", "since when, such as 2027-01-01T00:00:00Z; now when not given")
	return cmd
}

func flagName(rate string) string {
	return strings.ReplaceAll(rate, "_", "-")
}

func (a *app) setPrice(cmd *cobra.Command, price map[string]any, from string) error {
	if from != "" {
		if _, err := time.Parse(time.RFC3339, from); err != nil {
			return usagef("--from must be a time such as 2027-01-01T00:00:00Z, got %q", from)
		}
		price["valid_from"] = from
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var out map[string]any
	if err := c.call(cmd.Context(), http.MethodPost, pricesPath, map[string]any{"price": price}, &out); err != nil {
		return err
	}
	a.warn("", out["warnings"])
	return a.printPrices([]any{out["price"]})
}

// pricesCancelCommand takes back a price to come, which the gateway knows by its number.
func (a *app) pricesCancelCommand() *cobra.Command {
	var variant, from string
	cmd := &cobra.Command{
		Use: "cancel MODEL --from TIME", Short: "Take back a price that is to hold from a time on: the one before it holds on", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := time.Parse(time.RFC3339, from)
			if err != nil {
				return usagef("--from must be the time that the price is to hold from, such as 2027-01-01T00:00:00Z, got %q", from)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			items, err := c.pages(cmd.Context(), pricesPath, nil, "prices", 0)
			if err != nil {
				return err
			}
			for _, item := range items {
				start, err := time.Parse(time.RFC3339, cell(lookup(item, "valid_from")))
				if err != nil || !start.Equal(at) || lookup(item, "model") != args[0] || cell(lookup(item, "variant")) != cell(variant) {
					continue
				}
				var out map[string]any
				if err := c.call(cmd.Context(), http.MethodDelete, joinPath(pricesPath, cell(lookup(item, "revision"))), nil, &out); err != nil {
					return err
				}
				_, err = fmt.Fprintf(a.streams.Out, "the price of %s from %s on is taken back\n", args[0], from)
				return err
			}
			return fmt.Errorf("%s has no price that is to hold from %s on: poterne prices list shows those that there are", args[0], from)
		},
	}
	cmd.Flags().StringVar(&variant, "variant", "", "only this variant's")
	cmd.Flags().StringVar(&from, "from", "", "from when on the price is to hold, as prices list shows it")
	return cmd
}

func (a *app) pricesRemoveCommand() *cobra.Command {
	var variant, from string
	cmd := &cobra.Command{
		Use: "remove MODEL", Short: "Have a model have no price of its own from a time on", Args: exactArgs("MODEL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.setPrice(cmd, map[string]any{"model": args[0], "variant": variant, "removed": true}, from)
		},
	}
	cmd.Flags().StringVar(&variant, "variant", "", "only this variant's")
	cmd.Flags().StringVar(&from, "from", "", "since when; now when not given")
	return cmd
}
