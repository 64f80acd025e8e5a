package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// MLServer is Seldon's MLServer: models of scikit-learn, XGBoost and others on
// a CPU. Weights of such models are Python objects: loading one runs whatever
// code it holds, so a spec of this engine is trusted like a program.
type MLServer struct{ cfg TensorConfig }

// NewMLServer returns the adapter.
func NewMLServer(cfg TensorConfig) *MLServer { return &MLServer{cfg} }

// mlserverMemory is what the server takes besides its model. Measured: 190 MB
// with scikit-learn.
const mlserverMemory = 256 << 20

// mlserverGrowth is how many times its file a model takes in memory.
const mlserverGrowth = 3

// mlserverRuntimes are the runtimes that a spec may name, by their short names.
// Each is a Python class: a free choice would run any code on the machine.
func mlserverRuntimes() map[string]string {
	return map[string]string{
		"sklearn":  "mlserver_sklearn.SKLearnModel",
		"xgboost":  "mlserver_xgboost.XGBoostModel",
		"lightgbm": "mlserver_lightgbm.LightGBMModel",
		"catboost": "mlserver_catboost.CatboostModel",
	}
}

// Kind is mlserver.
func (*MLServer) Kind() string { return KindMLServer }

// Available looks for the program and the endpoints.
func (s *MLServer) Available() error { return s.cfg.available(s.Kind()) }

// Plan starts a server of the model's own, or uses the endpoint that the spec
// names.
func (s *MLServer) Plan(_ context.Context, m Model) (*Plan, error) {
	if err := checkTensorTask(m, s.Kind()); err != nil {
		return nil, err
	}
	p := newParameters(m.Spec.GetParameters())
	if name := p.text("endpoint", ""); name != "" {
		return s.cfg.attach(m, name, p, streamPlain)
	}
	if s.cfg.Program == nil {
		return nil, noEndpoint("", s.cfg.Endpoints)
	}
	path, err := s.cfg.Program.Path()
	if err != nil {
		return nil, unavailable(s.Kind(), err)
	}
	weights, err := onlyWeights(m, s.Kind())
	if err != nil {
		return nil, err
	}
	slots := p.number("slots", s.cfg.Slots, maxSlots)
	settings := mlserverSettings{
		name: localName(m), implementation: mlserverRuntimes()[p.choice("runtime", "sklearn", mlserverRuntimes())],
		uri: weights.Path, inputs: p.tensors("inputs"), outputs: p.tensors("outputs"),
	}
	p.flags(nil, joined)
	if err := p.problem(); err != nil {
		return nil, err
	}
	return &Plan{
		Command: &Command{
			Path:  path,
			Args:  func(int) []string { return append(slices.Clone(s.cfg.Program.first()), "start", ".") },
			Setup: settings.write,
		},
		Connect: func(port int) Engine {
			return newTensorClient(tensorTarget{address: "127.0.0.1:" + strconv.Itoa(port), model: settings.name, streams: streamPlain})
		},
		Slots: slots, MaxInFlight: slots + s.cfg.Queue,
		MemoryBytes: map[string]int64{PoolCPU: mlserverMemory + mlserverGrowth*weights.SizeBytes},
	}, nil
}

// mlserverSettings is what the server is told of its model.
type mlserverSettings struct {
	name, implementation, uri string
	inputs, outputs           []tensorSpec
}

// write writes the server's two files.
func (m mlserverSettings) write(dir string, port int) error {
	server := map[string]any{
		"host": "127.0.0.1", "grpc_port": port, "grpc_max_message_length": maxTensorAnswer,
		// Nobody asks it over HTTP; it cannot be turned off, and takes a free port.
		"http_port": 0, "metrics_endpoint": nil, "gzip_enabled": false, "debug": false,
		// One process is what we watch; and streams need it so.
		"parallel_workers": 0,
	}
	model := map[string]any{
		"name": m.name, "implementation": m.implementation, "parameters": map[string]any{"uri": m.uri},
	}
	if len(m.inputs) > 0 {
		model["inputs"] = m.inputs
	}
	if len(m.outputs) > 0 {
		model["outputs"] = m.outputs
	}
	for name, content := range map[string]any{"settings.json": server, "model-settings.json": model} {
		data, err := json.MarshalIndent(content, "", "  ")
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
