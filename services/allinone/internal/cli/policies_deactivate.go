package cli

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) policyDeactivateCommand(tenant *string) *cobra.Command {
	var etag string
	var force, yes bool
	cmd := &cobra.Command{
		Use: "deactivate", Short: "Take the policy out of force: what comes with the gateway, and the platform's, goes on", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !yes {
				seen, err := a.confirmDeactivation(cmd, *tenant)
				if err != nil {
					return err
				}
				if etag == "" {
					etag = seen // what was confirmed, and nothing that came meanwhile
				}
			}
			return a.policyCall(cmd, policiesPath+":deactivate", map[string]any{"tenant": *tenant, "etag": etag, "force": force},
				columns("WAS-IN-FORCE version", "ETAG etag"))
		},
	}
	cmd.Flags().StringVar(&etag, "etag", "", "only when what is in force has this etag")
	cmd.Flags().BoolVar(&force, "force", false, "also when you could then no longer change policies")
	cmd.Flags().BoolVar(&yes, "yes", false, "without asking")
	return cmd
}

// confirmDeactivation has somebody say so, and returns the etag of what they were shown.
func (a *app) confirmDeactivation(cmd *cobra.Command, tenant string) (etag string, err error) {
	c, err := a.client()
	if err != nil {
		return "", err
	}
	var out map[string]any
	if err := c.call(cmd.Context(), http.MethodGet, policiesPath+"?"+url.Values{"tenant": {tenant}}.Encode(), nil, &out); err != nil {
		return "", err
	}
	fmt.Fprintf(a.streams.Err, "Version %s of the policy of %s is in force. Take it out of force? [y/N] ", cell(lookup(out, "active.version")), cell(out["tenant"]))
	const most = 16
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), most)).ReadString('\n')
	fmt.Fprintln(a.streams.Err)
	switch answer := strings.ToLower(strings.TrimSpace(line)); {
	case answer == "y" || answer == "yes":
		return cell(out["etag"]), nil
	case err != nil && answer == "":
		return "", usagef("nobody answers: --yes takes it out of force without asking")
	}
	return "", usagef("nothing was changed")
}
