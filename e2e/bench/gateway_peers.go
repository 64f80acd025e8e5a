package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/e2e/bench/load"
	"github.com/poterne/poterne/e2e/process"
)

// goModel starts GoModel with its defaults, which track usage in SQLite.
func (s *stage) goModel(ctx context.Context, path string) error {
	engine, _, err := s.engine(ctx, "gomodel")
	if err != nil {
		return err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return err
	}
	const key = "bench"
	_, port, _ := strings.Cut(at[0], ":")
	p, err := s.start(ctx, process.Spec{
		Name: "gomodel", Path: path,
		Env: []string{
			"PORT=" + port, "GOMODEL_MASTER_KEY=" + key, "VLLM_BASE_URL=http://" + engine + "/v1",
		},
		Ready: process.HTTPReady("http://"+at[0]+"/health", nil),
	})
	if err != nil {
		return err
	}
	return s.enter(ctx, &contender{
		name: byGoModel, addr: at[0], path: chatPath, model: simModel, pids: []int{p.Pid()},
		header: [][2]string{{"Authorization", "Bearer " + key}},
	})
}

// portkey starts Portkey's gateway. What it is asked with names the engine.
func (s *stage) portkey(ctx context.Context, script string) error {
	engine, _, err := s.engine(ctx, "portkey")
	if err != nil {
		return err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(at[0], ":")
	p, err := s.start(ctx, process.Spec{
		Name: "portkey", Path: "node", Args: []string{script, "--port=" + port, "--headless"}, Env: []string{"NODE_ENV=production"},
		Ready: process.TCPReady(at[0]),
	})
	if err != nil {
		return err
	}
	return s.enter(ctx, &contender{
		name: byPortkey, addr: at[0], path: chatPath, model: simModel, pids: []int{p.Pid()},
		header: [][2]string{
			{"Authorization", "Bearer bench"}, {"x-portkey-provider", "openai"}, {"x-portkey-custom-host", "http://" + engine + "/v1"},
		},
	})
}

// liteLLM starts LiteLLM's proxy with a key and no database.
func (s *stage) liteLLM(ctx context.Context, python string) error {
	engine, _, err := s.engine(ctx, "litellm")
	if err != nil {
		return err
	}
	at, err := addrs(ctx, 1)
	if err != nil {
		return err
	}
	_, port, _ := strings.Cut(at[0], ":")
	config := filepath.Join(s.dir, "litellm.yaml")
	const key = "sk-bench"
	text := fmt.Sprintf("model_list:\n  - model_name: %[1]s\n    litellm_params: {model: \"openai/%[1]s\", api_base: \"http://%[2]s/v1\", api_key: none}\ngeneral_settings: {master_key: %[3]s}\n",
		simModel, engine, key)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := s.start(ctx, process.Spec{
		Name: "litellm", Path: python, Args: []string{"-c", "from litellm import run_server; run_server()", "--config", config, "--host", "127.0.0.1", "--port", port},
		// It would ask for its price list elsewhere.
		Env:   []string{"LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_TELEMETRY=False"},
		Ready: process.HTTPReady("http://"+at[0]+"/health/liveliness", nil),
	})
	if err != nil {
		return err
	}
	children, err := childrenOf(p.Pid())
	if err != nil {
		return err
	}
	return s.enter(ctx, &contender{
		name: byLiteLLM, addr: at[0], path: chatPath, model: simModel, pids: append(children, p.Pid()),
		header: [][2]string{{"Authorization", "Bearer " + key}},
	})
}

// GatewayPeers measures the gateways of others beside ours in the same rounds. Where
// readme names a file, the table between its marks is written anew.
func GatewayPeers(readme string) func(ctx context.Context) ([]Row, error) {
	return func(ctx context.Context) (_ []Row, err error) {
		s, err := newStage()
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		if err := errors.Join(s.direct(ctx), s.nginx(ctx), s.allInOne(ctx)); err != nil {
			return nil, err
		}
		if _, err := s.separate(ctx); err != nil {
			return nil, err
		}
		for _, peer := range []struct {
			variable string
			start    func(context.Context, string) error
		}{{"POTERNE_GOMODEL_BIN", s.goModel}, {"POTERNE_PORTKEY", s.portkey}, {"POTERNE_LITELLM", s.liteLLM}} {
			if path := os.Getenv(peer.variable); path != "" {
				if err := peer.start(ctx, path); err != nil {
					return nil, err
				}
			}
		}
		unary, err := s.rounds(ctx, func(c *contender) load.Request { return c.chat(gatewayTokens, "") })
		if err != nil {
			return nil, err
		}
		streams, err := s.rounds(ctx, func(c *contender) load.Request { return c.chat(streamTokens, `,"stream":true`) })
		if err != nil {
			return nil, err
		}
		if readme != "" {
			if err := writeTable(readme, peersTable(unary, streams)); err != nil {
				return nil, err
			}
		}
		return append(unary.numberLines("unary chat"), streams.numberLines("a stream of 64 chunks")...), nil
	}
}

// peersTable is the table in Markdown.
func peersTable(unary, streams *turns) string {
	var b strings.Builder
	b.WriteString("| gateway | requests/s | p50 / p99 ms | CPU a request, ms | peak MB | CPU a stream of 64 chunks, ms |\n|---|---:|---:|---:|---:|---:|\n")
	for _, name := range unary.names {
		if name == direct {
			continue
		}
		shown := name
		if name == byAllInOne || name == bySeparate {
			shown = "**Poterne**, " + name
		}
		fmt.Fprintf(&b, "| %s | %.0f | %.2f / %.1f | %.3f | %.0f | %.2f |\n", shown, unary.median(name, rateOf),
			unary.median(name, p50Millis), unary.median(name, p99Millis), unary.median(name, cpuMillis), unary.median(name, peakOf), streams.median(name, cpuMillis))
	}
	return b.String()
}

// The marks that the table stands between.
const (
	peersBegin = "<!-- make bench-peers writes what follows -->"
	peersEnd   = "<!-- until here -->"
)

func writeTable(file, table string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	out, err := replaceTable(string(text), table)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(out), 0o644)
}

func replaceTable(text, table string) (string, error) {
	before, rest, ok := strings.Cut(text, peersBegin+"\n")
	_, after, also := strings.Cut(rest, peersEnd)
	if !ok || !also {
		return "", errors.New("has no marks for the table")
	}
	return before + peersBegin + "\n" + table + peersEnd + after, nil
}
