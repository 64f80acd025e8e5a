package allinone

func mcpRequests() map[string]request {
	return map[string]request{"McpService/ListMcpTools": {nothing: aboutGateway}}
}
