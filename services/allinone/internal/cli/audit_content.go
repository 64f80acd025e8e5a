package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

const contentPath = "/v1/admin/audit-content"

func (a *app) auditContentCommand() *cobra.Command {
	read := &cobra.Command{
		Use: "content ID", Short: "Read the prompt and the answer that a record's call had; reading is recorded", Args: exactArgs("ID"),
		Long: `Reads what is kept of a call of your own tenant: ID is the record's, of audit list -o
json. content settings says whether anything is kept, content enable has it kept.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodGet, contentPath+"/"+url.PathEscape(args[0]), nil, &out); err != nil {
				return err
			}
			if a.settings.output != "table" {
				return a.print(out, nil)
			}
			if out["state"] != "kept" {
				return a.print(out, columns("ID id", "STATE state", "ERASED erase_time"))
			}
			for _, side := range []string{"request", "answer"} {
				mark := ""
				if out[side+"_cut"] == true {
					mark = fmt.Sprintf(" (cut: it had %v bytes)", out[side+"_bytes"])
				}
				fmt.Fprintf(a.streams.Out, "%s%s:\n%v\n", side, mark, out[side])
			}
			return nil
		},
	}
	read.AddCommand(a.contentSettingsCommand(), a.contentSwitchCommand("enable", true, "Have the content of model calls kept"),
		a.contentSwitchCommand("disable", false, "Have no more content kept; what is kept stays"), a.contentEraseCommand())
	return read
}

func (a *app) printContentSettings(settings any) error {
	return a.print([]any{settings}, columns("TENANT tenant", "KEPT enabled", "SINCE update_time", "MASTER master_key_id", "POSSIBLE available"))
}

func (a *app) contentSettingsCommand() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "settings", Short: "Show whether the content of a tenant's calls is kept", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			path := contentPath + "-settings?" + url.Values{"tenant": {tenant}}.Encode()
			if err := c.call(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			return a.printContentSettings(out["settings"])
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func tenantFlag(cmd *cobra.Command, tenant *string) {
	cmd.Flags().StringVar(tenant, "tenant", "", "another tenant than your own; for the platform's administrators")
}

func (a *app) contentSwitchCommand(name string, enabled bool, short string) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: name, Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var out map[string]any
			body := map[string]any{"tenant": tenant, "enabled": enabled}
			if err := c.call(cmd.Context(), http.MethodPut, contentPath+"-settings", body, &out); err != nil {
				return err
			}
			return a.printContentSettings(out["settings"])
		},
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

func (a *app) contentEraseCommand() *cobra.Command {
	var tenant string
	var all bool
	cmd := &cobra.Command{
		Use: "erase [SUBJECT]", Short: "Erase what is kept of a person, or with --all of the tenant, by destroying the keys", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usagef("give SUBJECT, or --all")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			path, body := contentPath+":deleteTenant", map[string]any{"tenant": tenant}
			if !all {
				path, body["subject"] = contentPath+":deleteSubject", args[0]
			}
			var out map[string]any
			if err := c.call(cmd.Context(), http.MethodPost, path, body, &out); err != nil {
				return err
			}
			return a.print(out, columns("DESTROYED destroyed_keys"))
		},
	}
	tenantFlag(cmd, &tenant)
	cmd.Flags().BoolVar(&all, "all", false, "everything of the tenant, and have no more kept")
	return cmd
}
