package mcptool

import (
	"context"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// Server is edge.v1.McpService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedMcpServiceServer
	enabled bool
}

// NewServer returns a server, which has tools where the protocol is spoken.
func NewServer(enabled bool) *Server { return &Server{enabled: enabled} }

// ListMcpTools lists the tools.
func (s *Server) ListMcpTools(context.Context, *edgev1.ListMcpToolsRequest) (*edgev1.ListMcpToolsResponse, error) {
	if !s.enabled {
		return nil, apierr.New(apierr.NotFound, "the Model Context Protocol is not spoken here (mcp.enabled)")
	}
	out := new(edgev1.ListMcpToolsResponse)
	for _, t := range Tools() {
		out.Tools = append(out.Tools, &edgev1.McpTool{Name: t.Name, Description: t.Description, InputSchema: t.Input})
	}
	return out, nil
}
