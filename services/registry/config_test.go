package registry_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/registry"
)

func TestDefaultsAreComplete(t *testing.T) {
	if err := registry.DefaultConfig().Complete(); err != nil {
		t.Error(err)
	}
}

func TestEveryProblemIsListed(t *testing.T) {
	cfg := registry.DefaultConfig()
	cfg.GRPC.Addr = "nowhere"
	cfg.Store.DSN = "mysql://x"
	cfg.Watch = registry.Watch{PollInterval: time.Hour, Heartbeat: time.Minute}
	cfg.Limits = registry.Limits{AliasesPerModel: 5000, ModelBytes: 16 * config.MiB}
	cfg.DrainTimeout = 0
	var problems config.Errors
	if err := cfg.Complete(); !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	want := []string{
		"grpc.addr", "store.dsn", "watch.poll_interval", "watch.heartbeat", "watch.keep_changes", "limits.models",
		"limits.aliases_per_model", "limits.model_bytes", "limits.watchers", "drain_timeout",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems of %v, want %v", got, want)
	}
}
