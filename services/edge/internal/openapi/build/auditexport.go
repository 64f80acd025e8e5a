package main

import "maps"

// auditExport adds the export of the audit trail, whose lines have no binding in the
// contract.
func auditExport(doc object, _ *descriptors) error {
	text := func(name, description string, more object) object {
		schema := object{"type": "string"}
		maps.Copy(schema, more)
		return object{"name": name, "in": "query", "description": description, "schema": schema}
	}
	at(doc, "paths", "/v1/admin/audit:export")["get"] = object{
		"tags": []any{"Administration"}, "operationId": "AuditService_ExportAudit",
		"summary":     "Exports the audit trail",
		"description": "The records of the caller's tenant, or for the platform's administrators of all, the oldest first.",
		"parameters": []any{
			text("format", "jsonl, the default, or csv.", object{"enum": []any{"jsonl", "csv"}}),
			text("filter", "Only the records that it selects, in the language of AIP-160.", object{"maxLength": 2048}),
			object{
				"name": "proof", "in": "query", "description": "Whether chains, keys and checkpoints come first, so that the export can be verified offline.",
				"schema": object{"type": "boolean"},
			},
			object{
				"name": "proofs", "in": "query", "description": "Whether each record comes with an inclusion proof against a signed checkpoint.",
				"schema": object{"type": "boolean"},
			},
		},
		"responses": object{
			"200": object{
				"description": "Lines.",
				"headers": object{
					"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"),
					"RateLimit-Policy": ref("headers", "RateLimit-Policy"),
				},
				"content": object{
					"application/x-ndjson": object{"schema": object{"type": "object"}},
					"text/csv":             object{"schema": object{"type": "string"}},
				},
			},
			"4XX": ref("responses", "Problem"), "5XX": ref("responses", "Problem"),
		},
	}
	return nil
}
