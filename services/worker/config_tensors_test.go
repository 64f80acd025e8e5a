package worker_test

import (
	"strings"
	"testing"

	"github.com/poterne/poterne/services/worker"
)

func TestTensorConfig(t *testing.T) {
	cfg := worker.DefaultConfig()
	cfg.Engines.Triton.Endpoints = map[string]worker.TensorEndpoint{"a": {Address: "10.0.0.7:8001", TLS: true, APIKey: "secret"}}
	if err := cfg.Complete(); err != nil {
		t.Fatal(err)
	}
	cfg.Engines.MLServer.Slots, cfg.Engines.MLServer.Queue = 0, -1
	cfg.Engines.Triton.Endpoints = map[string]worker.TensorEndpoint{"b": {Address: "http://10.0.0.7", APIKey: "secret", Slots: -1}}
	err := cfg.Complete()
	for _, want := range []string{
		"engines.mlserver.slots", "engines.mlserver.queue", "engines.triton.endpoints.b.address", "engines.triton.endpoints.b.api_key",
		"engines.triton.endpoints.b.slots",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not among the problems: %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "secret") {
		t.Errorf("the problems tell the key: %v", err)
	}
}
