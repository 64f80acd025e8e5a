package cli

import (
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/services/allinone/internal/mcpstdio"
)

// mcpPath is where a gateway speaks the Model Context Protocol.
const mcpPath = "/mcp"

func (a *app) mcpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "mcp",
		Short: "Give a desktop client the gateway's tools, over standard input and output",
		Long: `Speaks the Model Context Protocol on standard input and output, and asks the
gateway whatever is asked: searches and chats, with the rights of the key. Clients
start it themselves, as in

  {"mcpServers": {"poterne": {"command": "poterne", "args": ["mcp"],
    "env": {"POTERNE_URL": "https://gateway.example", "POTERNE_API_KEY": "ptn_..."}}}}

It ends when its input ends. --timeout bounds each call of a tool.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return mcpstdio.Serve(cmd.Context(), mcpstdio.Options{
				Endpoint: c.base.String() + mcpPath, Key: c.key, Version: a.version, Timeout: c.timeout,
				In: a.streams.In, Out: a.streams.Out, Told: a.streams.Err, Refused: refusal,
			})
		},
	}
}

// refusal reads what the gateway answered in place of a message.
func refusal(resp *http.Response) *mcpstdio.RefusalError {
	out := &mcpstdio.RefusalError{Status: resp.StatusCode, Reason: http.StatusText(resp.StatusCode), Message: "the gateway refused"}
	if e, ok := errors.AsType[*apiError](decodeError(resp)); ok {
		out.Reason, out.Message = e.Code, e.Error()
	}
	if resp.StatusCode == http.StatusNotFound {
		out.Message = "the gateway does not speak the Model Context Protocol (mcp.enabled)"
	}
	return out
}
