package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
)

// describe writes what concerns the whole API.
func describe(doc object, _ *descriptors) error {
	doc["info"] = object{
		"title":   "Poterne",
		"version": "v1",
		"description": "One guarded gate in front of an organisation's own search, inference and models. " +
			"The paths under /v1/chat, /v1/completions, /v1/embeddings and /v1/models are OpenAI's: its SDKs work with " +
			"base_url and key changed; /v1/rerank has the shape of Cohere's and Jina's clients; those under /v2 are the Open Inference Protocol's. The same API is offered as gRPC.",
		"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
	}
	doc["servers"] = []any{object{"url": "/", "description": "This gateway"}}
	doc["security"] = []any{object{"apiKey": []any{}}}
	at(doc, "components", "securitySchemes")["apiKey"] = object{
		"type": "http", "scheme": "bearer", "description": "An API key or an access token: Authorization: Bearer ptn_…",
	}
	doc["tags"] = []any{
		object{"name": "OpenAI", "description": "Chat, completions, embeddings and models, in OpenAI's shapes, and reranking."},
		object{"name": "Tensors", "description": "Models of tensors, by the Open Inference Protocol: KServe's and Triton's clients work unchanged."},
		object{"name": "Search", "description": "Collections of documents, and the passages in them that answer a query."},
		object{"name": "Registry", "description": "Models, versions, aliases and traffic splits."},
		object{"name": "Administration", "description": "API keys, web sessions, the audit trail and the workers."},
	}
	errorsAndHeaders(at(doc, "components"))
	return nil
}

func errorsAndHeaders(components object) {
	text := object{"type": "string"}
	nullable := object{"type": []any{"string", "null"}}
	schemas := at(components, "schemas")
	schemas["Problem"] = object{
		"type": "object", "description": "An error (RFC 9457).",
		"required": []any{"type", "title", "status", "detail", "code"},
		"properties": object{
			"type": text, "title": text, "status": object{"type": "integer"}, "detail": text, "instance": text,
			"code":       object{"type": "string", "description": "The reason, for programs, for example `INVALID_ARGUMENT`."},
			"request_id": text,
			"etag":       object{"type": "string", "description": "Of a `CONFLICT`: the present etag, empty when nothing is there."},
			"errors": object{"type": "array", "items": object{
				"type": "object", "properties": object{"field": text, "detail": text},
			}},
		},
	}
	schemas["OpenAIError"] = object{
		"type": "object", "description": "An error, in OpenAI's shape.", "required": []any{"error"},
		"properties": object{"error": object{
			"type": "object", "required": []any{"message", "type", "param", "code"},
			"properties": object{"message": text, "type": text, "param": nullable, "code": nullable, "request_id": text},
		}},
	}
	schemas["AnthropicError"] = object{
		"type": "object", "description": "An error, in Anthropic's shape.", "required": []any{"type", "error"},
		"properties": object{
			"type": object{"const": "error"}, "request_id": text,
			"error": object{
				"type": "object", "required": []any{"type", "message", "code"},
				"properties": object{"type": text, "message": text, "code": text, "field": text},
			},
		},
	}
	responses := at(components, "responses")
	responses["AnthropicError"] = object{
		"description": "The request was refused, or failed.",
		"headers":     object{"X-Request-Id": ref("headers", "X-Request-Id"), "Retry-After": ref("headers", "Retry-After")},
		"content":     object{"application/json": object{"schema": ref("schemas", "AnthropicError")}},
	}
	responses["Problem"] = object{
		"description": "The request was refused, or failed.",
		"headers":     object{"X-Request-Id": ref("headers", "X-Request-Id"), "Retry-After": ref("headers", "Retry-After")},
		"content":     object{"application/problem+json": object{"schema": ref("schemas", "Problem")}},
	}
	responses["OpenAIError"] = object{
		"description": "The request was refused, or failed.",
		"headers":     object{"X-Request-Id": ref("headers", "X-Request-Id"), "Retry-After": ref("headers", "Retry-After")},
		"content":     object{"application/json": object{"schema": ref("schemas", "OpenAIError")}},
	}
	headers := at(components, "headers")
	for name, description := range map[string]string{
		"X-Request-Id":             "Finds this request in logs, traces and the audit trail.",
		"Retry-After":              "Seconds to wait before another try; on 429 and 503.",
		"RateLimit":                "What is left of the limit (draft-ietf-httpapi-ratelimit-headers).",
		"RateLimit-Policy":         "The limit itself.",
		"X-Poterne-Model":          "The version that answered, name@v3.",
		"X-Poterne-Variant":        "The variant of the version that answered, where it has several; base is its own weights.",
		"X-Poterne-Variant-Reason": "Why it was not the best variant that is allowed: placement (none better is loaded) or saturation (those had no room).",
		"X-Poterne-Arm":            "The arm of the experiment, or of the traffic split, that the caller fell into.",
		"X-Poterne-Experiment":     "The experiment that decided on the arm.",
		"X-Poterne-Prompt":         "The version of the prompt that the conversation began with, name@v2.",
		"X-Poterne-Cache":          "What the response cache did: hit, miss or bypass.",
	} {
		headers[name] = object{"description": description, "schema": object{"type": "string"}}
	}
}

// tag is the group that a service's calls are shown in.
func tag(service protoreflect.FullName) string {
	switch service {
	case "poterne.edge.v1.OpenAIService", "poterne.edge.v1.FeedbackService", moderationService, responsesService, fileService, batchService:
		return "OpenAI"
	case messagesService:
		return "Anthropic"
	case "poterne.search.v1.SearchService":
		return "Search"
	}
	if service.Parent() == "poterne.edge.v1" {
		return "Administration"
	}
	return "Registry"
}

// The services in others' shapes, OpenAI's own apart.
const (
	messagesService   = "poterne.edge.v1.MessagesService"
	responsesService  = "poterne.edge.v1.ResponsesService"
	moderationService = "poterne.edge.v1.ModerationService"
	fileService       = "poterne.edge.v1.FileService"
	batchService      = "poterne.edge.v1.BatchService"
	// Its paths are below one of OpenAI's.
	conversationService = "poterne.edge.v1.ConversationService"
)

// operations completes every call: its answers, its errors, its group.
func operations(doc object, c *descriptors) error {
	for path, item := range at(doc, "paths") {
		methods, ok := item.(object)
		if !ok {
			continue
		}
		for verb, v := range methods {
			op, ok := v.(object)
			if !ok {
				continue
			}
			id, _ := op["operationId"].(string)
			m, ok := c.methods[id]
			if !ok {
				return fmt.Errorf("%s %s: there is no method %q", verb, path, id)
			}
			operation(op, m)
		}
	}
	return nil
}

func operation(op object, m protoreflect.MethodDescriptor) {
	service := m.Parent().FullName()
	op["operationId"] = string(m.Parent().Name()) + "_" + string(m.Name())
	op["tags"] = []any{tag(service)}
	if text, ok := op["description"].(string); ok {
		first, _, _ := strings.Cut(text, ". ")
		op["summary"] = strings.TrimSuffix(strings.Join(strings.Fields(first), " "), ".")
	}
	problem := "Problem"
	switch service {
	case "poterne.edge.v1.OpenAIService", moderationService, responsesService, fileService, batchService:
		problem = "OpenAIError"
	case messagesService:
		problem = "AnthropicError"
	case conversationService:
		if m.Name() != "PurgeConversations" { // its path is an administrator's
			problem = "OpenAIError"
		}
	}
	op["responses"] = object{
		"200": success(m), "4XX": ref("responses", problem), "5XX": ref("responses", problem),
	}
	if asksAModel(m) && m.Name() != "CountTokens" && m.Name() != "CountMessageTokens" { // it waits for nobody's turn
		params, _ := op["parameters"].([]any)
		op["parameters"] = append(params, hints()...)
	}
	if params, ok := op["parameters"].([]any); ok {
		for _, p := range params {
			if o, ok := p.(object); ok {
				if schema, ok := o["schema"].(object); ok {
					delete(schema, "title")
					delete(schema, "description") // the parameter has it
				}
			}
		}
	}
}

// asksAModel reports whether a call has a model do something.
func asksAModel(m protoreflect.MethodDescriptor) bool {
	switch m.Parent().FullName() {
	case "poterne.edge.v1.OpenAIService":
		return m.Name() != "ListModels" && m.Name() != "GetModel"
	case messagesService:
		return true
	case responsesService:
		return m.Name() == "CreateResponse"
	default:
		return false
	}
}

func success(m protoreflect.MethodDescriptor) object {
	schema := ref("schemas", string(m.Output().FullName()))
	if fd := responseBody(m); fd != nil {
		schema = valueSchema(fd)
	}
	content := object{"application/json": object{"schema": schema}}
	headers := object{
		"X-Request-Id": ref("headers", "X-Request-Id"), "RateLimit": ref("headers", "RateLimit"),
		"RateLimit-Policy": ref("headers", "RateLimit-Policy"),
	}
	if m.IsStreamingServer() {
		return object{
			"description": "Events, each with one message, the last with `[DONE]`. A failure in the middle is an event `error` with a problem.",
			"headers":     headers, "content": object{"text/event-stream": object{"schema": schema}},
		}
	}
	streams := map[string]protoreflect.MessageDescriptor{
		"CreateChatCompletion": (*edgev1.StreamChatCompletionResponse)(nil).ProtoReflect().Descriptor(),
		"CreateCompletion":     (*edgev1.CreateCompletionResponse)(nil).ProtoReflect().Descriptor(),
		"CreateResponse":       (*edgev1.ResponseEvent)(nil).ProtoReflect().Descriptor(),
		"CreateMessage":        (*edgev1.StreamMessageResponse)(nil).ProtoReflect().Descriptor(),
	}
	if chunk, ok := streams[string(m.Name())]; ok {
		content["text/event-stream"] = object{
			"schema": ref("schemas", string(chunk.FullName())),
		}
	}
	if asksAModel(m) {
		for _, h := range []string{"X-Poterne-Model", "X-Poterne-Variant", "X-Poterne-Variant-Reason", "X-Poterne-Experiment", "X-Poterne-Arm", "X-Poterne-Prompt", "X-Poterne-Cache"} {
			headers[h] = ref("headers", h)
		}
	}
	description := "Done."
	if _, ok := streams[string(m.Name())]; ok {
		description = "The answer; with `\"stream\": true` as events, each with one chunk, the last with `[DONE]`."
	}
	switch m.Name() {
	case "CreateResponse":
		description = "The answer; with `\"stream\": true` as events of the types that OpenAI has, the last of type `response.completed` or `response.incomplete`."
	case "CreateMessage":
		description = "The answer; with `\"stream\": true` as events of the types that Anthropic has, the last of type `message_stop`."
	}
	return object{"description": description, "headers": headers, "content": content}
}
