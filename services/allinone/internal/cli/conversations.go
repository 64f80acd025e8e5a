package cli

import (
	"net/http"

	"github.com/spf13/cobra"
)

const (
	conversationsPath      = "/v1/conversations"
	purgeConversationsPath = "/v1/admin/conversations:purge"
)

// conversationsCommand is about what the gateway remembers.
func (a *app) conversationsCommand() *cobra.Command {
	return group("conversations", "Conversations that the gateway remembers",
		a.conversationsListCommand(), a.conversationsGetCommand(), a.conversationsDeleteCommand(), a.conversationsPurgeCommand())
}

func (a *app) conversationsListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List one's own conversations", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.list(cmd, conversationsPath, nil, "conversations", 0,
				columns("ID id", "TURNS turn_count", "SUMMED-UP summarized_turns", "BEGAN create_time", "USED update_time", "ENDS expire_time"))
		},
	}
}

func (a *app) conversationsGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show one of one's own conversations with its turns (-o yaml or json)", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.converse(cmd, http.MethodGet, joinPath(conversationsPath, args[0]), nil, columns("ID id", "TURNS turn_count", "SUMMARY summary", "USED update_time", "ENDS expire_time"))
		},
	}
}

func (a *app) conversationsDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Forget one of one's own conversations", Args: exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.converse(cmd, http.MethodDelete, joinPath(conversationsPath, args[0]), nil, nil)
		},
	}
}

func (a *app) conversationsPurgeCommand() *cobra.Command {
	var tenant, subject, id string
	cmd := &cobra.Command{
		Use: "purge", Short: "Forget a tenant's conversations: all, a subject's, or one; for administrators", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.converse(cmd, http.MethodPost, purgeConversationsPath, map[string]any{"tenant": tenant, "subject": subject, "id": id}, columns("PURGED purged"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "the tenant; by default the caller's")
	f.StringVar(&subject, "subject", "", "only this subject's")
	f.StringVar(&id, "id", "", "only this one, of the subject")
	return cmd
}

func (a *app) converse(cmd *cobra.Command, method, path string, body any, cols []column) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	out := map[string]any{}
	if err := c.call(cmd.Context(), method, path, body, &out); err != nil {
		return err
	}
	if cols == nil && a.settings.output == "table" {
		return nil
	}
	return a.print(out, cols)
}
