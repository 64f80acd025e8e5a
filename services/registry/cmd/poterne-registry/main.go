// Command poterne-registry runs the registry.
package main

import (
	"context"
	"os"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/registry/internal/artifact"
	"github.com/poterne/poterne/services/registry/internal/content"
)

// version is set when the binary is built.
var version = "dev" //nolint:gochecknoglobals // the linker sets it

func main() {
	os.Exit(servicecmd.Main(registry.ServiceName, version, registry.DefaultConfig, run))
}

func run(ctx context.Context, cfg *registry.Config) error {
	servicecmd.CalmMonitor()
	if err := telemetry.LogGRPC(registry.ServiceName, version, cfg.Telemetry); err != nil {
		return err
	}
	s, err := registry.New(ctx, *cfg, registry.WithVersion(version), registry.WithBuckets(openBucket))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func openBucket(cfg content.BucketConfig) (artifact.Content, error) { return content.NewBucket(cfg) }
