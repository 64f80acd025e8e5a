// Command poterne-worker runs the worker: the agent on a machine that models run on.
package main

import (
	"context"
	"os"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/worker"
)

// version is set when the binary is built.
var version = "dev" //nolint:gochecknoglobals // the linker sets it

func main() {
	os.Exit(servicecmd.Main(worker.ServiceName, version, worker.DefaultConfig, run))
}

func run(ctx context.Context, cfg *worker.Config) error {
	servicecmd.CalmMonitor()
	if err := telemetry.LogGRPC(worker.ServiceName, version, cfg.Telemetry); err != nil {
		return err
	}
	restore := servicecmd.RoomyHeap()
	defer restore()
	s, err := worker.New(ctx, *cfg, worker.WithVersion(version))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
