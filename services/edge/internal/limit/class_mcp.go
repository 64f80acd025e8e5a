package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func mcpClasses() map[string]Class {
	return map[string]Class{edgev1.McpService_ListMcpTools_FullMethodName: Read}
}
