// Command poterne-inference runs the inference service.
package main

import (
	"context"
	"os"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/inference"
)

// version is set when the binary is built.
var version = "dev" //nolint:gochecknoglobals // the linker sets it

func main() {
	os.Exit(servicecmd.Main(inference.ServiceName, version, inference.DefaultConfig, run))
}

func run(ctx context.Context, cfg *inference.Config) error {
	servicecmd.CalmMonitor()
	if err := telemetry.LogGRPC(inference.ServiceName, version, cfg.Telemetry); err != nil {
		return err
	}
	restore := servicecmd.RoomyHeap()
	defer restore()
	s, err := inference.New(ctx, *cfg, inference.WithVersion(version))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
