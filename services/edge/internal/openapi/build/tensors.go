package main

import (
	"strings"

	oip "github.com/poterne/poterne/proto/gen/inference"
	"github.com/poterne/poterne/services/edge/internal/openinference"
)

// tensors adds the calls of the Open Inference Protocol, which the contract has
// no bindings for, with the forms that they have over REST.
func tensors(doc object, _ *descriptors) error {
	tensorSchemas(at(doc, "components", "schemas"))
	at(doc, "components", "responses")["InferenceError"] = object{
		"description": "The request was refused, or failed.",
		"headers":     object{"X-Request-Id": ref("headers", "X-Request-Id"), "Retry-After": ref("headers", "Retry-After")},
		"content":     object{"application/json": object{"schema": ref("schemas", "InferenceError")}},
	}
	for _, rt := range openinference.Routes() {
		at(doc, "paths", rt.Path)[strings.ToLower(rt.Method)] = tensorOperation(rt)
	}
	return nil
}

// tensorCall is what the document says of one method.
type tensorCall struct {
	summary, description string
	answer               object
	request              string // the schema of its body
	public               bool
	served               bool // its answer says which version answered
}

func tensorCalls() map[string]tensorCall {
	return map[string]tensorCall{
		oip.GRPCInferenceService_ServerLive_FullMethodName: {
			summary: "Says that the gateway is up", answer: ref("schemas", "inference.Live"), public: true,
		},
		oip.GRPCInferenceService_ServerReady_FullMethodName: {
			summary: "Says whether requests would be served", description: "503 when they would not.", answer: ref("schemas", "inference.Ready"), public: true,
		},
		oip.GRPCInferenceService_ServerMetadata_FullMethodName: {
			summary: "Says what the gateway is", answer: ref("schemas", "inference.Server"),
		},
		oip.GRPCInferenceService_ModelMetadata_FullMethodName: {
			summary: "Says what tensors a model takes and gives", answer: ref("schemas", "inference.Model"), served: true,
		},
		oip.GRPCInferenceService_ModelReady_FullMethodName: {
			summary: "Says whether a model is ready, of whatever kind it is", description: "503 when it is not.", answer: ref("schemas", "inference.Ready"),
		},
		oip.GRPCInferenceService_ModelInfer_FullMethodName: {
			summary: "Runs a model on tensors",
			description: "Elements may also come, and be asked for, as bytes behind the JSON: the header " +
				"Inference-Header-Content-Length then says how long the JSON is, and binary_data_size of each tensor how many bytes are its own.",
			answer: ref("schemas", "inference.InferResponse"), request: "inference.InferRequest", served: true,
		},
		oip.GRPCInferenceService_RepositoryIndex_FullMethodName: {
			summary: "Lists the models, of whatever kind they are", request: "inference.IndexRequest",
			answer: object{"type": "array", "items": ref("schemas", "inference.IndexEntry")},
		},
	}
}

func tensorOperation(rt openinference.Route) object {
	call := tensorCalls()[rt.RPC]
	name := rt.RPC[strings.LastIndexByte(rt.RPC, '/')+1:]
	op := object{"tags": []any{"Tensors"}, "operationId": "GRPCInferenceService_" + name, "summary": call.summary}
	if call.description != "" {
		op["description"] = call.description
	}
	var parameters []any
	if strings.Contains(rt.Path, openinference.PathModel) {
		parameters = append(parameters, pathParameter("model", "Which model: name, name@alias, name@v3 or name@sha256:…"))
	}
	if strings.Contains(rt.Path, openinference.PathVersion) {
		op["operationId"] = "GRPCInferenceService_" + name + "OfVersion"
		parameters = append(parameters, pathParameter("version", "The number of a version, such as 3."))
	}
	if call.public {
		op["security"] = []any{}
	}
	headers := object{"X-Request-Id": ref("headers", "X-Request-Id")}
	if call.served {
		for _, h := range []string{"X-Poterne-Model", "X-Poterne-Variant", "X-Poterne-Variant-Reason", "X-Poterne-Experiment", "X-Poterne-Arm"} {
			headers[h] = ref("headers", h)
		}
	}
	answers := object{"application/json": object{"schema": call.answer}}
	if call.request != "" {
		bodies := object{"application/json": object{"schema": ref("schemas", call.request)}}
		if rt.RPC == oip.GRPCInferenceService_ModelInfer_FullMethodName {
			bodies["application/octet-stream"], answers["application/octet-stream"] = object{}, object{}
			parameters = append(parameters, object{
				"name": "Inference-Header-Content-Length", "in": "header", "schema": object{"type": "integer", "minimum": 0},
				"description": "How many bytes of the body are JSON, when others follow.",
			})
		}
		op["requestBody"] = object{"content": bodies, "required": rt.RPC == oip.GRPCInferenceService_ModelInfer_FullMethodName}
	}
	if rt.RPC == oip.GRPCInferenceService_ModelInfer_FullMethodName {
		parameters = append(parameters, hints()...)
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	op["responses"] = object{
		"200": object{"description": "Done.", "headers": headers, "content": answers},
		"4XX": ref("responses", "InferenceError"), "5XX": ref("responses", "InferenceError"),
	}
	return op
}

func pathParameter(name, description string) object {
	return object{"name": name, "in": "path", "required": true, "description": description, "schema": object{"type": "string"}}
}

// tensorSchemas adds the forms.
func tensorSchemas(schemas object) {
	text, number := object{"type": "string"}, object{"type": "integer"}
	list := func(of object) object { return object{"type": "array", "items": of} }
	form := func(description string, properties object, required ...any) object {
		out := object{"type": "object", "description": description, "properties": properties, "additionalProperties": false}
		if len(required) > 0 {
			out["required"] = required
		}
		return out
	}
	parameters := object{
		"type": "object", "description": "Parameters for the engine.",
		"additionalProperties": object{"type": []any{"string", "number", "boolean"}},
	}
	datatype := object{"type": "string", "enum": []any{
		"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64", "BYTES",
	}}
	data := object{"type": "array", "description": "The elements, flat or nested as the shape; strings for BYTES. FP16 and BF16 have no form in JSON.", "items": object{}}
	tensor := object{"name": text, "datatype": datatype, "shape": list(number), "parameters": parameters, "data": data}
	described := list(form("A tensor; -1 is a dimension of any size.", object{"name": text, "datatype": datatype, "shape": list(number)}, "name", "datatype", "shape"))
	schemas["InferenceError"] = object{
		"type": "object", "description": "An error, in the Open Inference Protocol's shape.", "required": []any{"error", "code"},
		"properties": object{"error": text, "code": text, "field": text, "request_id": text},
	}
	schemas["inference.Live"] = form("Whether the gateway is up.", object{"live": object{"type": "boolean"}}, "live")
	schemas["inference.Ready"] = form("Whether it is ready.", object{"name": text, "ready": object{"type": "boolean"}}, "ready")
	schemas["inference.Server"] = form("What the gateway is.", object{"name": text, "version": text, "extensions": list(text)}, "name", "version", "extensions")
	schemas["inference.Model"] = form("What a model is.", object{
		"name": text, "versions": list(text), "platform": text, "inputs": described, "outputs": described,
	}, "name", "platform", "inputs", "outputs")
	schemas["inference.InferRequest"] = form("Tensors for a model.", object{
		"id": text, "parameters": parameters, "inputs": list(form("An input.", tensor, "name", "datatype", "shape")),
		"outputs":       list(form("An output that is asked for.", object{"name": text, "parameters": parameters}, "name")),
		"model_name":    object{"type": "string", "description": "Ignored: the path decides."},
		"model_version": object{"type": "string", "description": "Ignored: the path decides."},
	}, "inputs")
	schemas["inference.InferResponse"] = form("What a model made of its tensors.", object{
		"model_name": text, "model_version": text, "id": text, "parameters": parameters,
		"outputs": list(form("An output.", tensor, "name", "datatype", "shape")),
	}, "model_name", "outputs")
	schemas["inference.IndexRequest"] = form("Which models to list.", object{"ready": object{"type": "boolean"}})
	schemas["inference.IndexEntry"] = form("A model.", object{"name": text, "version": text, "state": text, "reason": text}, "name", "state")
}
