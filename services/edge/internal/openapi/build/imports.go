package main

import searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"

// imports adds the import of documents, whose stream goes both ways and has no
// binding in the contract.
func imports(doc object, _ *descriptors) error {
	document := string((*searchv1.Document)(nil).ProtoReflect().Descriptor().FullName())
	verdict := string((*searchv1.ImportVerdict)(nil).ProtoReflect().Descriptor().FullName())
	progress := string((*searchv1.ImportProgress)(nil).ProtoReflect().Descriptor().FullName())
	parameter := func(name, description string, schema object) object {
		return object{"name": name, "in": "query", "description": description, "schema": schema}
	}
	number := func(least int) object {
		return object{"type": "integer", "minimum": least, "maximum": 1_000_000_000_000}
	}
	at(doc, "paths", "/v1/collections/{collection}/documents:import")["post"] = object{
		"tags": []any{"Search"}, "operationId": "SearchService_ImportDocuments",
		"summary": "Creates or replaces any number of documents over a stream",
		"description": "The body is a document as JSON a line. The answer is lines, written while the body is read: " +
			"a verdict for each document once it is kept, and how far the import is. A line that is wrong fails alone. " +
			"A client must read while it sends. One that was cut off begins again after settled_lines.",
		"parameters": []any{
			pathParameter("collection", "The collection's id."),
			parameter("skip_lines", "How many lines of the body to pass over, because they are settled.", number(0)),
			parameter("first_line", "The number of the body's first line, when the settled ones are left out of it; 1 otherwise.", number(1)),
			parameter("refresh", "wait: end when the documents can be found (the default); none: when they are kept.",
				object{"type": "string", "enum": []any{"wait", "none"}}),
			parameter("verdicts", "all (the default), or failed: only of documents that failed.",
				object{"type": "string", "enum": []any{"all", "failed"}}),
		},
		"requestBody": object{"required": true, "content": object{"application/x-ndjson": object{"schema": ref("schemas", document)}}},
		"responses": object{
			"200": object{
				"description": "Lines, each with one member: verdict, progress, or error (a problem), which is the last then. " +
					"A whole import ends with a progress that says done.",
				"headers": object{
					"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"),
					"RateLimit-Policy": ref("headers", "RateLimit-Policy"),
				},
				"content": object{"application/x-ndjson": object{"schema": object{"type": "object", "properties": object{
					"verdict": ref("schemas", verdict), "progress": ref("schemas", progress), "error": ref("schemas", "Problem"),
				}}}},
			},
			"4XX": ref("responses", "Problem"), "5XX": ref("responses", "Problem"),
		},
	}
	return nil
}
