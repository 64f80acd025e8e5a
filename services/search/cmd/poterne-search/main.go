// Command poterne-search runs the search service.
package main

import (
	"context"
	"os"

	"github.com/poterne/poterne/pkg/servicecmd"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search"
)

// version is set when the binary is built.
var version = "dev" //nolint:gochecknoglobals // the linker sets it

func main() {
	os.Exit(servicecmd.Main(search.ServiceName, version, search.DefaultConfig, run))
}

func run(ctx context.Context, cfg *search.Config) error {
	servicecmd.CalmMonitor()
	if err := telemetry.LogGRPC(search.ServiceName, version, cfg.Telemetry); err != nil {
		return err
	}
	s, err := search.New(ctx, *cfg, search.WithVersion(version))
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
