package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Triton is NVIDIA's Triton Inference Server.
type Triton struct{ cfg TensorConfig }

// NewTriton returns the adapter.
func NewTriton(cfg TensorConfig) *Triton { return &Triton{cfg} }

// What it is estimated to take: itself, and its model, whose file is smaller than
// what a runtime makes of it. It has not been measured.
const (
	tritonMemory = 512 << 20
	tritonGrowth = 2
)

// maxTritonBatch bounds max-batch-size.
const maxTritonBatch = 1 << 16

// tritonBackends are the backends that a spec may name, with the file that each
// looks for. The Python backend is not among them: its model is a program.
func tritonBackends() map[string]string {
	return map[string]string{
		"onnxruntime": "model.onnx",
		"tensorrt":    "model.plan",
		"pytorch":     "model.pt",
	}
}

// Kind is triton.
func (*Triton) Kind() string { return KindTriton }

// Available looks for the program and the endpoints.
func (t *Triton) Available() error { return t.cfg.available(t.Kind()) }

// Plan starts a server of the model's own, or uses the endpoint that the spec
// names.
func (t *Triton) Plan(_ context.Context, m Model) (*Plan, error) {
	if err := checkTensorTask(m, t.Kind()); err != nil {
		return nil, err
	}
	p := newParameters(m.Spec.GetParameters())
	if name := p.text("endpoint", ""); name != "" {
		return t.cfg.attach(m, name, p, streamWrapped)
	}
	if t.cfg.Program == nil {
		return nil, noEndpoint("", t.cfg.Endpoints)
	}
	path, err := t.cfg.Program.Path()
	if err != nil {
		return nil, unavailable(t.Kind(), err)
	}
	weights, err := onlyWeights(m, t.Kind())
	if err != nil {
		return nil, err
	}
	slots := p.number("slots", t.cfg.Slots, maxSlots)
	model := tritonModel{
		name: localName(m), weights: weights.Path, backend: p.choice("backend", "onnxruntime", tritonBackends()),
		batch: p.within("max-batch-size", 0, 0, maxTritonBatch), gpu: p.within("gpu", noGPU, 0, maxGPU),
		inputs: p.tensors("inputs"), outputs: p.tensors("outputs"),
	}
	p.flags(nil, joined)
	if err := p.problem(); err != nil {
		return nil, err
	}
	memory := map[string]int64{PoolCPU: tritonMemory}
	memory[model.pool()] += tritonGrowth * weights.SizeBytes
	return &Plan{
		Command: &Command{
			Path:  path,
			Args:  func(port int) []string { return slices.Concat(t.cfg.Program.first(), model.args(port)) },
			Setup: model.write,
			Env:   []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID"}, // as the worker numbers them
		},
		Connect: func(port int) Engine {
			return newTensorClient(tensorTarget{address: "127.0.0.1:" + strconv.Itoa(port), model: model.name, streams: streamWrapped, strict: true})
		},
		Slots: slots, MaxInFlight: slots + t.cfg.Queue, MemoryBytes: memory,
	}, nil
}

// noGPU says that a model runs on the CPU.
const (
	noGPU  = -1
	maxGPU = 127
)

// tritonModel is what the server is told of its model.
type tritonModel struct {
	name, weights, backend string
	batch, gpu             int
	inputs, outputs        []tensorSpec
}

// pool is the memory that the model is loaded into.
func (m tritonModel) pool() string {
	if m.gpu == noGPU {
		return PoolCPU
	}
	return "gpu" + strconv.Itoa(m.gpu)
}

// args start the server with this model alone; it ends when that cannot be
// loaded, and says why.
func (m tritonModel) args(port int) []string {
	return []string{
		"--model-repository=.", "--model-control-mode=explicit", "--load-model=" + m.name, "--exit-on-error=true",
		"--allow-http=false", "--allow-metrics=false", "--grpc-address=127.0.0.1", "--grpc-port=" + strconv.Itoa(port),
	}
}

// write writes the repository: MODEL/config.pbtxt, MODEL/1/FILE.
func (m tritonModel) write(dir string, _ int) error {
	version := filepath.Join(dir, m.name, "1")
	if err := os.MkdirAll(version, 0o700); err != nil {
		return err
	}
	if err := os.Symlink(m.weights, filepath.Join(version, tritonBackends()[m.backend])); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, m.name, "config.pbtxt"), []byte(m.config()), 0o600)
}

// config is the model's configuration. What it does not say Triton reads from
// the model itself where its backend can.
func (m tritonModel) config() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %q\nbackend: %q\nmax_batch_size: %d\n", m.name, m.backend, m.batch)
	tritonTensors(&b, "input", m.inputs)
	tritonTensors(&b, "output", m.outputs)
	if m.gpu == noGPU {
		b.WriteString("instance_group [ { kind: KIND_CPU } ]\n")
	} else {
		fmt.Fprintf(&b, "instance_group [ { kind: KIND_GPU gpus: [ %d ] } ]\n", m.gpu)
	}
	return b.String()
}

func tritonTensors(b *strings.Builder, list string, tensors []tensorSpec) {
	for _, t := range tensors {
		datatype, _ := tritonType(t.Datatype)
		dims := make([]string, len(t.Shape))
		for i, d := range t.Shape {
			dims[i] = strconv.FormatInt(d, 10)
		}
		fmt.Fprintf(b, "%s [ { name: %s data_type: %s dims: [ %s ] } ]\n", list, strconv.QuoteToASCII(t.Name), datatype, strings.Join(dims, ", "))
	}
}
