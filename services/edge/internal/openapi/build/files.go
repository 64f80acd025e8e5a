package main

// files adds the calls about files whose bodies are bytes, which have no binding in
// the contract.
func files(doc object, _ *descriptors) error {
	headers := object{
		"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"),
		"RateLimit-Policy": ref("headers", "RateLimit-Policy"),
	}
	text := object{"type": "string"}
	at(doc, "paths", "/v1/files")["post"] = object{
		"tags": []any{"OpenAI"}, "operationId": "FileService_UploadFile",
		"summary":     "Takes a file",
		"description": "A file of requests for a batch, one JSON object a line.",
		"requestBody": object{"required": true, "content": object{"multipart/form-data": object{"schema": object{
			"type": "object", "required": []any{"file", "purpose"},
			"properties": object{
				"file":                   object{"type": "string", "contentMediaType": "application/octet-stream"},
				"purpose":                object{"type": "string", "enum": []any{"batch"}},
				"expires_after[anchor]":  object{"type": "string", "enum": []any{"created_at"}},
				"expires_after[seconds]": object{"type": "integer", "minimum": 3600, "maximum": 2592000},
			},
		}}}},
		"responses": object{
			"200": object{
				"description": "The file.", "headers": headers,
				"content": object{"application/json": object{"schema": ref("schemas", "poterne.edge.v1.File")}},
			},
			"4XX": ref("responses", "OpenAIError"), "5XX": ref("responses", "OpenAIError"),
		},
	}
	at(doc, "paths", "/v1/files/{file_id}/content")["get"] = object{
		"tags": []any{"OpenAI"}, "operationId": "FileService_GetFileContent",
		"summary":     "Returns a file's bytes",
		"description": "The bytes as they were sent, or the results of a batch.",
		"parameters": []any{object{
			"name": "file_id", "in": "path", "required": true, "description": "Its id.",
			"schema": object{"type": "string", "minLength": 1, "maxLength": 64},
		}},
		"responses": object{
			"200": object{
				"description": "The bytes.", "headers": headers,
				"content": object{"application/octet-stream": object{"schema": text}},
			},
			"4XX": ref("responses", "OpenAIError"), "5XX": ref("responses", "OpenAIError"),
		},
	}
	return nil
}
