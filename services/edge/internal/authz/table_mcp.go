package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// mcpMethods: tools need what the calls need that they stand for; this is for whatever
// else a client of the Model Context Protocol asks.
func mcpMethods() map[string]Method {
	return map[string]Method{
		edgev1.McpService_ListMcpTools_FullMethodName: {Type: "mcp", Action: "use"},
	}
}
