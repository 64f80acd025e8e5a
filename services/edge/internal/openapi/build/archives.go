package main

import registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"

// archives adds the archive of the registry, whose lines have no binding in the
// contract.
func archives(doc object, _ *descriptors) error {
	record := string((*registryv1.ArchiveRecord)(nil).ProtoReflect().Descriptor().FullName())
	response := string((*registryv1.ImportArchiveResponse)(nil).ProtoReflect().Descriptor().FullName())
	lines := object{"application/x-ndjson": object{"schema": ref("schemas", record)}}
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
	at(doc, "paths", "/v1/registry/archive:export")["get"] = object{
		"tags": []any{"Registry"}, "operationId": "RegistryService_ExportArchive",
		"summary":     "Gives everything in the registry as of one moment",
		"description": "Models with all that is theirs, prompts, and webhooks without their secrets. For the platform's callers.",
		"responses":   answer("Lines. The last has the SHA-256 of all before it; an archive that ends otherwise is not whole.", lines),
	}
	at(doc, "paths", "/v1/registry/archive:import")["post"] = object{
		"tags": []any{"Registry"}, "operationId": "RegistryService_ImportArchive",
		"summary": "Imports an archive of the registry",
		"description": "All of it in one transaction, once all of it has come and its hash is right, or nothing. " +
			"What is there as it is in the archive stays; the same again changes nothing. For the platform's callers.",
		"parameters": []any{
			object{
				"name": "conflict", "in": "query", "description": "What is done with what is there and not the same: fail (nothing is imported; the default), skip or replace.",
				"schema": object{"type": "string", "enum": []any{"fail", "skip", "replace"}},
			},
			object{
				"name": "dry_run", "in": "query", "description": "Whether nothing is changed, and only told what would be.",
				"schema": object{"type": "boolean"},
			},
		},
		"requestBody": object{"required": true, "content": lines},
		"responses":   answer("What became of each thing.", object{"application/json": object{"schema": ref("schemas", response)}}),
	}
	return nil
}
