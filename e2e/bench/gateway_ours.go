package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/e2e/process"
)

// allInOne starts `poterne up` with its defaults: keys, policy, limits and audit are on.
func (s *stage) allInOne(ctx context.Context) error {
	path, err := binary("poterne")
	if err != nil {
		return err
	}
	at, err := addrs(ctx, 3)
	if err != nil {
		return err
	}
	data := filepath.Join(s.dir, "all-in-one", "data")
	p, err := s.start(ctx, process.Spec{
		Name: "all-in-one", Path: path,
		Args:  append([]string{"up", "--engine", "sim", "--data-dir", data, "--http-addr", at[0], "--grpc-addr", at[1], "--ops-addr", at[2]}, s.up...),
		Ready: process.HTTPReady("http://"+at[2]+"/readyz", nil),
	})
	if err != nil {
		return err
	}
	key, err := callerKey(ctx, at[0], data)
	if err != nil {
		return err
	}
	return s.enter(ctx, ours(byAllInOne, at[0], key, p.Pid()))
}

func ours(name, addr, key string, pids ...int) *contender {
	return &contender{name: name, addr: addr, path: chatPath, model: simModel, header: [][2]string{{"Authorization", "Bearer " + key}}, pids: pids}
}

// callerKey makes a key of a developer that is not slowed down, as the administrator
// whose first key lies in a directory.
func callerKey(ctx context.Context, addr, dir string) (string, error) {
	admin, err := os.ReadFile(filepath.Join(dir, "admin.key"))
	if err != nil {
		return "", err
	}
	out, err := cli(ctx, addr, strings.TrimSpace(string(admin)), "keys", "create", "bench", "--role", "developer", "--requests-per-minute", "1000000", "-o", "json")
	if err != nil {
		return "", err
	}
	var made struct {
		Key string `json:"key"`
	}
	if err := json.Unmarshal(out, &made); err != nil || made.Key == "" {
		return "", fmt.Errorf("keys create answered without a key: %w", err)
	}
	return made.Key, nil
}

// separate is the services as processes of their own, on SQLite.
type separate struct {
	stage *stage
	edge  *process.Process
	// http and ops are the edge's addresses, data its directory.
	http, ops, data string
	key             string
	worker          *process.Process
	inference       *process.Process
}

// service starts one of the services with a configuration.
func (s *stage) service(ctx context.Context, kind, config, ready string) (*process.Process, error) {
	path, err := binary("poterne-" + kind)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, kind+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return s.start(ctx, process.Spec{Name: kind, Path: path, Args: []string{"--config", file}, Ready: process.HTTPReady(ready, nil)})
}

// separate starts registry, worker, inference and edge, each with its defaults but
// for where the others are, and for how many streams the bench opens.
func (s *stage) separate(ctx context.Context) (*separate, error) {
	at, err := addrs(ctx, 9)
	if err != nil {
		return nil, err
	}
	sim, err := binary("poterne-sim")
	if err != nil {
		return nil, err
	}
	found := fmt.Sprintf("discovery: {kind: static, static: {poterne-registry: [%q], poterne-worker: [%q], poterne-inference: [%q]}}\n", at[0], at[2], at[4])
	config := func(grpc, ops, more string) string {
		return fmt.Sprintf("grpc: {addr: %q, max_concurrent_streams: 10000, max_connections: 20000}\ntelemetry: {ops_addr: %q, log_level: warn}\n%s%s", grpc, ops, found, more)
	}
	out := &separate{stage: s, http: at[6], ops: at[8], data: filepath.Join(s.dir, "edge", "data")}
	if _, err := s.service(ctx, "registry", config(at[0], at[1], "store: {dsn: \"sqlite:registry.db\"}\n"), "http://"+at[1]+"/readyz"); err != nil {
		return nil, err
	}
	if out.worker, err = s.service(ctx, "worker", config(at[2], at[3], fmt.Sprintf("state_dir: state\nengines: {sim: {path: %q}}\n", sim)), "http://"+at[3]+"/readyz"); err != nil {
		return nil, err
	}
	if out.inference, err = s.service(ctx, "inference", config(at[4], at[5], "placement: {replicas: 1}\n"), "http://"+at[5]+"/livez"); err != nil {
		return nil, err
	}
	edge := fmt.Sprintf("http: {addr: %q}\ndata_dir: %q\nabuse: {connections_per_address: 0}\nstore: {dsn: \"sqlite:edge.db\"}\n", at[6], out.data) + s.edge
	if out.edge, err = s.service(ctx, "edge", config(at[7], at[8], edge), "http://"+at[8]+"/livez"); err != nil {
		return nil, err
	}
	if err := out.models(ctx); err != nil {
		return nil, err
	}
	return out, s.enter(ctx, ours(bySeparate, out.http, out.key, out.edge.Pid(), out.inference.Pid(), out.worker.Pid()))
}

// heldModel has room for many streams at once, and slowModel answers at the pace of
// a real one.
const (
	heldModel = "sim-held"
	slowModel = "sim-slow"
)

// slowRate is slowModel's tokens a second.
const slowRate = 200

// models registers what the bench asks for, and waits until it is served.
func (p *separate) models(ctx context.Context) error {
	admin, err := os.ReadFile(filepath.Join(p.data, "admin.key"))
	if err != nil {
		return err
	}
	for name, parameters := range map[string][]string{
		simModel:  {"answer-tokens=32"},
		heldModel: {"slots=8192", "kv-tokens=2000000000"},
		slowModel: {fmt.Sprintf("decode-rate=%d", slowRate)},
	} {
		args := []string{"models", "register", name, "--task", "chat", "--engine", "sim", "--context-length", "8192", "--alias", "production"}
		for _, parameter := range parameters {
			args = append(args, "--parameter", parameter)
		}
		if err := process.Poll(ctx, func(ctx context.Context) error {
			_, err := cli(ctx, p.http, strings.TrimSpace(string(admin)), args...)
			return err
		}); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if p.key, err = callerKey(ctx, p.http, p.data); err != nil {
		return err
	}
	return errors.Join(process.Poll(ctx, process.HTTPReady("http://"+p.ops+"/readyz", nil)), p.served(ctx))
}

// served waits until every model answers.
func (p *separate) served(ctx context.Context) error {
	for _, m := range []string{simModel, heldModel, slowModel} {
		c := ours(bySeparate, p.http, p.key)
		c.model = m
		if err := process.Poll(ctx, func(ctx context.Context) error { return once(ctx, c) }); err != nil {
			return fmt.Errorf("%s: %w", m, err)
		}
	}
	return nil
}
