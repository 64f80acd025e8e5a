package main

import (
	"maps"
	"slices"
)

// usageExport adds the export of usage, whose CSV has no binding in the contract. Its
// parameters are those of the list, but for the page.
func usageExport(doc object, _ *descriptors) error {
	list := at(doc, "paths", "/v1/admin/usage", "get")
	parameters, _ := list["parameters"].([]any)
	parameters = slices.DeleteFunc(slices.Clone(parameters), func(p any) bool {
		o, _ := p.(object)
		return o["name"] == "page_size" || o["name"] == "page_token"
	})
	out := maps.Clone(list)
	maps.Copy(out, object{
		"operationId": "UsageService_ExportUsage",
		"summary":     "Exports usage",
		"description": "The sums as CSV (RFC 4180); the first line names the columns.",
		"parameters":  parameters,
		"responses": object{
			"200": object{
				"description": "Lines.",
				"headers": object{
					"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"),
					"RateLimit-Policy": ref("headers", "RateLimit-Policy"),
				},
				"content": object{"text/csv": object{"schema": object{"type": "string"}}},
			},
			"4XX": ref("responses", "Problem"), "5XX": ref("responses", "Problem"),
		},
	})
	at(doc, "paths", "/v1/admin/usage:export")["get"] = out
	return nil
}
