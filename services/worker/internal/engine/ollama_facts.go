package engine

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// ollamaProcess is a model that Ollama has read in (docs/api.md, GET /api/ps;
// api/types.go, ProcessModelResponse). That is all it tells of its load.
type ollamaProcess struct {
	Name    string `json:"name"`
	Model   string `json:"model"`
	Size    int64  `json:"size"`
	Context int    `json:"context_length"`
}

// ollamaRunning returns the model among those that are read in, or nil.
func ollamaRunning(ctx context.Context, c *client, root, name string) (*ollamaProcess, error) {
	body, err := c.getAtMost(ctx, root+"/api/ps", maxMetricsBytes)
	if err != nil {
		return nil, err
	}
	var list struct {
		Models []ollamaProcess `json:"models"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, apierr.Wrap(apierr.EngineFailed, err, "the engine's list of running models cannot be read")
	}
	for _, m := range list.Models {
		if sameOllamaModel(m.Model, name) || sameOllamaModel(m.Name, name) {
			return &m, nil
		}
	}
	return nil, nil //nolint:nilnil // it is not read in
}

// sameOllamaModel compares names, of which one without a tag means latest.
func sameOllamaModel(a, b string) bool {
	return strings.TrimSuffix(a, ":latest") == strings.TrimSuffix(b, ":latest")
}

// ollamaFacts asks what the model could have (POST /api/show, where the names
// begin with the architecture's) and what it was given (GET /api/ps).
func ollamaFacts(ctx context.Context, c *client, root, name string) (Facts, error) {
	var show struct {
		Info map[string]json.RawMessage `json:"model_info"`
	}
	if err := c.ask(ctx, root+"/api/show", &show, jsonbody.Member{Name: "model", Value: quote(name)}); err != nil {
		return Facts{}, err
	}
	var f Facts
	for key, value := range show.Info {
		var n int
		if json.Unmarshal(value, &n) != nil || n <= 0 {
			continue
		}
		switch {
		case strings.HasSuffix(key, ".context_length"):
			f.ContextLength = n
		case strings.HasSuffix(key, ".embedding_length"):
			f.Dimensions = n
		}
	}
	running, err := ollamaRunning(ctx, c, root, name)
	if err != nil {
		return Facts{}, err
	}
	if running != nil && running.Context > 0 {
		f.ContextLength = running.Context
	}
	return f, nil
}
