package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) routesTestCommand() *cobra.Command {
	fields := make(map[string]*string)
	var operation string
	var headers []string
	cmd := &cobra.Command{
		Use: "test", Short: "Show which route a request would take, and why not the others; nothing is asked", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			name, err := routeOperations().name("operation", operation)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			given := make(map[string]string)
			for _, h := range headers {
				name, value, _ := strings.Cut(h, "=")
				given[strings.ToLower(name)] = value
			}
			body := map[string]any{"operation": name, "headers": given}
			for name, value := range fields {
				body[name] = *value
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, routesPath+":test", body, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			if out["route"] == nil {
				_, _ = fmt.Fprintln(a.streams.Out, "no route is about the request")
			} else {
				if err := a.print([]any{out["route"]}, routeColumns()); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(a.streams.Out, "models: %v\n", out["models"])
			}
			verdicts, _ := out["verdicts"].([]any)
			for _, v := range verdicts {
				a.warn("route "+cell(lookup(v, "name"))+": ", lookup(v, "warnings"))
			}
			a.heading("routes in force")
			return a.print(out["verdicts"], columns("NAME name", "MATCHES matches", "MISSES misses"))
		},
	}
	cmd.Flags().StringVar(&operation, "operation", "chat", "chat, completion, embed, rerank or search")
	cmd.Flags().StringArrayVar(&headers, "header", nil, "a header, NAME=VALUE")
	for _, f := range [][3]string{
		{"model", "model", "the model as the request names it"},
		{"path", "path", "the path"},
		{"method", "method", "the full gRPC method; empty for the operation's"},
		{"tenant", "tenant", "the caller's tenant; empty for your own"},
		{"subject", "subject", "the caller's subject"},
		{"key", "key_id", "the caller's API key, by its id"},
	} {
		fields[f[1]] = cmd.Flags().String(f[0], "", f[2])
	}
	return cmd
}
