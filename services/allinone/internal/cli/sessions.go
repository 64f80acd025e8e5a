package cli

import (
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

const (
	sessionsPath    = "/v1/admin/sessions"
	ownSessionsPath = "/v1/sessions"
)

func sessionColumns() []column {
	return columns("ID id", "TENANT tenant", "SUBJECT subject", "ROLES roles", "ADDRESS address", "BEGAN create_time", "USED last_use_time", "ENDS expire_time",
		"BROWSER user_agent")
}

// sessionsCommand is about people who are logged in to the web pages.
func (a *app) sessionsCommand() *cobra.Command {
	return group("sessions", "People who are logged in to the web pages",
		a.sessionsListCommand(), a.sessionsEndCommand(), a.sessionsEndAllCommand())
}

func (a *app) sessionsListCommand() *cobra.Command {
	var tenant, subject string
	var own bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the sessions of a tenant; of all tenants for administrators of the platform", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if own && tenant+subject != "" {
				return usagef("either --own, or --tenant and --subject")
			}
			if own {
				return a.list(cmd, ownSessionsPath, nil, "sessions", 0, sessionColumns())
			}
			query := url.Values{}
			for name, value := range map[string]string{"tenant": tenant, "subject": subject} {
				if value != "" {
					query.Set(name, value)
				}
			}
			return a.list(cmd, sessionsPath, query, "sessions", 0, sessionColumns())
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "only those of this tenant")
	f.StringVar(&subject, "subject", "", "only those of this subject")
	f.BoolVar(&own, "own", false, "only one's own, which needs no administrator")
	return cmd
}

func (a *app) sessionsEndCommand() *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use: "end ID", Short: "End a session; every edge refuses it within a second", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := joinPath(sessionsPath, args[0])
			if own {
				path = joinPath(ownSessionsPath, args[0])
			}
			return a.endSessions(cmd, http.MethodDelete, path, nil)
		},
	}
	cmd.Flags().BoolVar(&own, "own", false, "one of one's own, which needs no administrator")
	return cmd
}

func (a *app) sessionsEndAllCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "end-all SUBJECT", Short: "End all sessions of a subject", Args: exactArgs("SUBJECT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.endSessions(cmd, http.MethodPost, sessionsPath+":end", map[string]any{"subject": args[0], "tenant": tenant})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "the subject's tenant; by default the caller's")
	return cmd
}

func (a *app) endSessions(cmd *cobra.Command, method, path string, body any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	out := map[string]any{}
	if err := c.call(cmd.Context(), method, path, body, &out); err != nil {
		return err
	}
	if _, counted := out["ended"]; !counted {
		out["ended"] = 1
	}
	return a.print(out, columns("ENDED ended"))
}
