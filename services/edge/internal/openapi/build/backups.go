package main

import searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"

// backups adds the backup of a collection and its restoring, whose bodies are
// bytes and have no binding in the contract.
func backups(doc object, _ *descriptors) error {
	collection := string((*searchv1.Collection)(nil).ProtoReflect().Descriptor().FullName())
	data := object{"application/octet-stream": object{"schema": object{"type": "string", "format": "binary"}}}
	answer := func(description string, content object) object {
		return object{
			"200": object{
				"description": description,
				"headers": object{
					"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"),
					"RateLimit-Policy": ref("headers", "RateLimit-Policy"),
				},
				"content": content,
			},
			"4XX": ref("responses", "Problem"), "5XX": ref("responses", "Problem"),
		}
	}
	at(doc, "paths", "/v1/collections/{collection}:backup")["get"] = object{
		"tags": []any{"Search"}, "operationId": "SearchService_BackupCollection",
		"summary":     "Gives everything in a collection as of one moment",
		"description": "Documents, passages, vectors, access lists and settings, whoever may read them: for administrators.",
		"parameters":  []any{pathParameter("collection", "The collection's id.")},
		"responses":   answer("The backup. It ends with the SHA-256 of all before it; one that ends otherwise is not whole.", data),
	}
	at(doc, "paths", "/v1/collections:restore")["post"] = object{
		"tags": []any{"Search"}, "operationId": "SearchService_RestoreCollection",
		"summary": "Makes a collection of a backup",
		"description": "The collection is there once all of the backup has come and its hash is right, or not at all. " +
			"Nothing is embedded again. For administrators.",
		"parameters": []any{object{
			"name": "collection", "in": "query", "required": true, "description": "The id of the collection that is made.",
			"schema": object{"type": "string"},
		}},
		"requestBody": object{"required": true, "content": data},
		"responses":   answer("The collection.", object{"application/json": object{"schema": ref("schemas", collection)}}),
	}
	return nil
}
