package main

import (
	"net/http"
	"strings"

	"github.com/poterne/poterne/services/edge/internal/mlflow"
)

// mlflowCalls adds MLflow's names for the registry's calls. Their bodies are
// MLflow's, whose documentation describes them; docs/moving-in.md says what of it
// is known here.
func mlflowCalls(doc object, _ *descriptors) error {
	for _, rt := range mlflow.Routes() {
		call := object{
			"tags": []any{"MLflow"}, "operationId": strings.ReplaceAll(strings.TrimPrefix(rt.RPC, "/poterne.edge.v1."), "/", "_") + suffix(rt),
			"summary":     "MLflow's " + strings.TrimPrefix(rt.Path, mlflow.Prefix),
			"description": "As MLflow's REST API has it, errors included (error_code and message).",
			"responses": object{
				"200":     object{"description": "As MLflow answers.", "content": object{"application/json": object{"schema": object{"type": "object"}}}},
				"default": object{"description": "An error in MLflow's shape."},
			},
		}
		if rt.Method != http.MethodGet {
			call["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": object{"type": "object"}}}}
		}
		at(doc, "paths", rt.Path)[strings.ToLower(rt.Method)] = call
	}
	return nil
}

// suffix keeps the ids of two calls of one method apart.
func suffix(rt mlflow.Route) string {
	if strings.HasSuffix(rt.Path, "get-latest-versions") && rt.Method == http.MethodGet {
		return "_GET"
	}
	return ""
}
