package edge

import (
	"errors"
	"net/http"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/services/edge/internal/gateway"
)

// mcp returns what speaks the Model Context Protocol, whose tools are calls by conn;
// nil where it is off.
func (s *Service) mcp(conn grpc.ClientConnInterface) (http.Handler, error) {
	switch {
	case !s.cfg.MCP.Enabled:
		return nil, nil //nolint:nilnil // nobody speaks it
	case s.opts.mcp == nil:
		return nil, errors.New("mcp.enabled: this program does not speak the Model Context Protocol; poterne-edge does")
	default:
		return s.opts.mcp(MCPDeps{Conn: conn, Clock: s.opts.clock, Version: s.opts.version, Refuse: gateway.RefuseMCP}), nil
	}
}
